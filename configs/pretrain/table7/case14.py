"""Table 7, case 14: base InfoNCE, distillation InfoNCE, no momentum targets: US+SimCLR."""

_base_ = ["case10.py"]

objective = dict(distill="infonce")
