"""Table 7, case 1: SimSiam at each width by itself, without distillation (collapses)."""

_base_ = ["case02.py"]

objective = dict(distill="none")
