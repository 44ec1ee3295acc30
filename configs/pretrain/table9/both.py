"""Table 9: sandwich rule and dynamic sampling."""

_base_ = ["sandwich.py"]

sampling = dict(dynamic=True)
