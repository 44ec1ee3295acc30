"""Table 7, case 17: case 16 with head g."""

_base_ = ["case13.py"]

objective = dict(distill="infonce")
