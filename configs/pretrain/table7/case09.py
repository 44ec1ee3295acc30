"""Table 7, case 9: SimCLR at each width by itself, without distillation."""

_base_ = ["case10.py"]

objective = dict(distill="none")
