"""Table 7, case 10: case 12 without momentum targets."""

_base_ = ["case12.py"]

objective = dict(momentum_base=False, momentum_sub=False)
