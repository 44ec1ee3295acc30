"""Table 7, case 15: case 14 with momentum targets for the sub-networks."""

_base_ = ["case11.py"]

objective = dict(distill="infonce")
