"""Table 9: four random widths an iteration."""

_base_ = ["sandwich.py"]

sampling = dict(sandwich=False)
