"""Table 4 (and 5, 6, Figure 3): ImageNet, ResNet-18 and ResNet-50.

The byol rows are those of width 1; others by width_range=0.5,0.5. us3l is what the paper's text says; us3l_released is
what the released program trains, probably the paper's figures: cosine base and distillation with h, g and momentum.
"""

_base_ = ["_base_/us3l.py", "_base_/imagenet.py"]

_resnet18 = dict(backbone=dict(name="resnet18"))
_us_byol = dict(  # case 3 of Table 7
    method="us+byol",
    objective=dict(base="mse", aux_head=False),
    sampling=dict(dynamic=False),
    optimizer=dict(lr=0.05, alpha=0.0),
)
_byol = [_us_byol, dict(method="byol", width_range=(1.0, 1.0))]
_as_on_cifar = dict(optimizer=dict(weight_decay=5e-4))

rows = {
    "resnet18_byol": [*_byol, _resnet18, _as_on_cifar],
    "resnet18_us_byol": [_us_byol, _resnet18, _as_on_cifar],
    "resnet18_us3l": _resnet18,
    "resnet50_byol": _byol,
    "resnet50_us_byol": _us_byol,
    "resnet50_us3l": {},
    "resnet50_us3l_released": dict(objective=dict(base="mse"), optimizer=dict(lr=0.05, lr_batch=480)),
}
