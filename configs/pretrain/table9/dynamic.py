"""Table 9: dynamic sampling without the sandwich rule."""

_base_ = ["both.py"]

sampling = dict(sandwich=False)
