"""Table 7, case 8: base MSE, distillation InfoNCE with head g, momentum targets."""

_base_ = ["case13.py"]

objective = dict(base="mse", distill="infonce")
optimizer = dict(lr=0.05, weight_decay=5e-4)
