"""Table 9: the sandwich rule without dynamic sampling, which is case 13 of Table 7."""

_base_ = ["../table7/case13.py"]
