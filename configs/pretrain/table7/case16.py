"""Table 7, case 16: case 14 with momentum targets."""

_base_ = ["case12.py"]

objective = dict(distill="infonce")
