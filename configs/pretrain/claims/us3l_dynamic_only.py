"""US3L without group regularisation (Table 8: yes, no)."""

_base_ = ["_base.py"]

optimizer = dict(alpha=0.0)
