"""Table 4 (and 5, 6, Figure 3): ImageNet, ResNet-18 and ResNet-50.

The byol rows are those of width 1; others by width_range=0.5,0.5. us3l is what the paper's text says; us3l_released is
what the released program trains, probably the paper's figures: cosine base and distillation with h, g and momentum, an
optimizer step after each width, and alpha from the half on. Its US+BYOL is us_byol_released.
"""

_base_ = ["_base_/us3l.py", "_base_/imagenet.py"]

_resnet18 = dict(backbone=dict(name="resnet18"), training=dict(chunks=4))  # 4 GPUs of 128
_us_byol = dict(  # case 3 of Table 7
    method="us+byol",
    objective=dict(base="mse", aux_head=False),
    sampling=dict(dynamic=False),
    optimizer=dict(lr=0.05, alpha=0.0),
)
_byol = [_us_byol, dict(method="byol", width_range=(1.0, 1.0))]
_released_us_byol = dict(  # case 4: two heads; three networks an iteration
    objective=dict(aux_head=True), sampling=dict(networks=3), training=dict(update="per_width")
)
_released = dict(
    objective=dict(base="mse"),
    optimizer=dict(lr=0.05, alpha_ramp=(0.5, 0.5), group_heads=True),
    training=dict(update="per_width"),
)
_480_images = dict(optimizer=dict(lr_batch=480), training=dict(batch_size=480))  # 8 GPUs of 60

rows = {
    "resnet18_byol": [*_byol, _resnet18],
    "resnet18_us_byol": [_us_byol, _resnet18],
    "resnet18_us_byol_released": [_us_byol, _resnet18, _released_us_byol],
    "resnet18_us3l": _resnet18,
    "resnet18_us3l_released": [_released, _resnet18],
    "resnet50_byol": _byol,
    "resnet50_us_byol": _us_byol,
    "resnet50_us_byol_released": [_us_byol, _released_us_byol, _480_images],
    "resnet50_us3l": {},
    "resnet50_us3l_released": [_released, _480_images],
}
