"""Table 7, case 5: base MSE, distillation InfoNCE, no momentum targets."""

_base_ = ["case02.py"]

objective = dict(distill="infonce")
