"""US3L without dynamic sampling (Table 8: no, yes)."""

_base_ = ["_base.py"]

sampling = dict(dynamic=False)
