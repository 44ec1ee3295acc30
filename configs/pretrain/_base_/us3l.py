"""US3L as the paper trains it: InfoNCE base, MSE distillation with head g, momentum targets, dynamic sampling, group
regularisation (docs/method.md, sections 2 to 4). Data, backbone and length are left to the configs that inherit."""

method = "us3l"
width_range = (0.25, 1.0)
objective = dict(base="infonce", distill="mse", aux_head=True, momentum_base=True, momentum_sub=True, temperature=0.5)
sampling = dict(dynamic=True, sandwich=True)
optimizer = dict(lr=0.5, lr_batch=512, momentum=0.9, weight_decay=1e-4, groups=8, alpha=0.05)
