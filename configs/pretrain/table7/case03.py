"""Table 7, case 3: base MSE, distillation MSE, momentum targets: US+BYOL."""

_base_ = ["case08.py"]

objective = dict(distill="mse", aux_head=False)
