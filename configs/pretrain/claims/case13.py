"""Table 7, case 13: US3L without dynamic sampling and group regularisation (Table 8: no, no)."""

_base_ = ["_base.py"]

sampling = dict(dynamic=False)
optimizer = dict(alpha=0.0)
