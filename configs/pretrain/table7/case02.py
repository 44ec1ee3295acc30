"""Table 7, case 2: base MSE, distillation MSE, no momentum targets: US+SimSiam."""

_base_ = ["case08.py"]

objective = dict(distill="mse", aux_head=False, momentum_base=False, momentum_sub=False)
