"""Table 1: its "US3L" is case 8 of Table 7, without dynamic sampling and group regularisation."""

_base_ = ["../table7/case08.py"]
