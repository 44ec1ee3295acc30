"""Table 7, case 11: case 12 with momentum targets for the sub-networks only."""

_base_ = ["case12.py"]

objective = dict(momentum_base=False)
