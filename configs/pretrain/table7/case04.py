"""Table 7, case 4: base MSE, distillation MSE with head g, momentum targets."""

_base_ = ["case08.py"]

objective = dict(distill="mse")
