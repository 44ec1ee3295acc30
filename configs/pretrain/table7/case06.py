"""Table 7, case 6: case 5 with momentum targets for the sub-networks."""

_base_ = ["case05.py"]

objective = dict(momentum_sub=True)
