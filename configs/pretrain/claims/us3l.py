"""US3L, the whole method."""

_base_ = ["_base.py"]
