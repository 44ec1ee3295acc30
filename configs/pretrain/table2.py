"""Table 2: three backbones on CIFAR-100; what is trained once, and what is trained for each of nine widths.

Rows that train each width by itself (simclr, simsiam, byol, seed, seed_mse) are those of width 1; others by
width_range=0.5,0.5. The BYOL rows keep their projector: one of full width is the teacher that seed and seed_mse take
as objective.teacher=FILE.
"""

_base_ = ["_base_/us3l.py", "_base_/cifar100_resnet18.py"]

_resnet50 = dict(backbone=dict(name="resnet50"), training=dict(chunks=8))  # the paper's 8 GPUs of 64
_mobilenetv2 = dict(backbone=dict(name="mobilenetv2"))

_individual = dict(width_range=(1.0, 1.0))
_800ep = dict(training=dict(epochs=800))
_us_net = dict(sampling=dict(dynamic=False), optimizer=dict(alpha=0.0), objective=dict(aux_head=False))
_mse = dict(objective=dict(base="mse"), optimizer=dict(lr=0.05, weight_decay=5e-4))
_no_momentum = dict(objective=dict(momentum_base=False, momentum_sub=False))
_us_simclr = [_us_net, _no_momentum, dict(method="us+simclr", objective=dict(distill="infonce"))]  # case 14 of Table 7
_us_simsiam = [_us_net, _no_momentum, _mse, dict(method="us+simsiam")]  # case 2
_simclr = [*_us_simclr, _individual, dict(method="simclr")]
_simsiam = [*_us_simsiam, _individual, dict(method="simsiam")]
_byol = [_us_net, _mse, _individual, dict(method="byol", training=dict(keep_projector=True))]
_seed = dict(
    method="seed",
    width_range=(1.0, 1.0),
    objective=dict(_delete_=True, name="seed", loss="queue"),
    optimizer=dict(lr=0.05, alpha=0.0),
)
_seed_mse = [_seed, dict(method="seed-mse", objective=dict(loss="mse"), optimizer=dict(weight_decay=5e-4))]

rows = {
    "resnet18_simclr": _simclr,
    "resnet18_simsiam": _simsiam,
    "resnet18_byol": _byol,
    "resnet18_seed": _seed,
    "resnet18_seed_mse": _seed_mse,
    "resnet18_us_simclr": _us_simclr,
    "resnet18_us_simsiam": _us_simsiam,
    "resnet18_us3l": {},
    "resnet18_us3l_800ep": _800ep,
    "resnet50_byol": [*_byol, _resnet50, dict(optimizer=dict(weight_decay=1e-4))],  # less than ResNet-18's
    "resnet50_seed": [_seed, _resnet50],
    "resnet50_seed_mse": [*_seed_mse, _resnet50],
    "resnet50_us_simclr": [*_us_simclr, _resnet50],
    "resnet50_us_simsiam": [*_us_simsiam, _resnet50],
    "resnet50_us3l": _resnet50,
    "resnet50_us3l_800ep": [_800ep, _resnet50],
    "mobilenetv2_byol": [*_byol, _mobilenetv2],
    "mobilenetv2_seed_mse": [*_seed_mse, _mobilenetv2],
    "mobilenetv2_us_simclr": [*_us_simclr, _mobilenetv2],
    "mobilenetv2_us_simsiam": [*_us_simsiam, _mobilenetv2],
    "mobilenetv2_us3l": _mobilenetv2,
}
