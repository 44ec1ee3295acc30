"""Table 7, case 12: case 13 without head g."""

_base_ = ["case13.py"]

objective = dict(aux_head=False)
