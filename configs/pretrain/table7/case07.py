"""Table 7, case 7: case 8 without head g."""

_base_ = ["case08.py"]

objective = dict(aux_head=False)
