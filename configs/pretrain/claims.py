"""The paper's claims in miniature: 10,000 CIFAR-10 images (1,000 a class), a ResNet-18 of a quarter of the channels
with a stride-2 stem, 30 epochs = 2,340 iterations. More iterations of a smaller network beat fewer of a larger one.
First weights are torch's default, as those of the released program's networks for CIFAR."""

from pretrain.slimmable.widths import FOUR_WIDTHS as _FOUR_WIDTHS

_base_ = ["_base_/us3l.py"]

backbone = dict(name="resnet18", stem="cifar_half", base_channels=16, init="torch")
objective = dict(hidden=512, outputs=128)
data = dict(name="cifar10", image_size=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
training = dict(epochs=30, batch_size=128, threads=1, log_interval=78, checkpoint_interval=390)
calibration = dict(widths=_FOUR_WIDTHS, batch_size=128, batches=20)
monitor = dict(widths=(1.0, 0.25))

_no_dynamic = dict(sampling=dict(dynamic=False))
_no_group = dict(optimizer=dict(alpha=0.0))
_no_head = dict(objective=dict(aux_head=False))
_no_momentum = dict(objective=dict(momentum_base=False, momentum_sub=False))
_case10 = [_no_dynamic, _no_group, _no_head, _no_momentum]
_us_simclr = [*_case10, dict(method="us+simclr", objective=dict(distill="infonce"))]
_us_simsiam = [
    *_case10,
    dict(method="us+simsiam", objective=dict(base="mse", outputs=512), optimizer=dict(lr=0.05, weight_decay=5e-4)),
]

rows = {
    "us3l": {},
    "us3l_dynamic_only": _no_group,  # Table 8
    "us3l_group_only": _no_dynamic,
    "us3l_per_width": dict(training=dict(update="per_width")),  # as in the released program
    "us_simclr": _us_simclr,
    "us_simsiam": _us_simsiam,
    "simclr_025": [
        *_us_simclr,
        dict(method="simclr", width_range=(0.25, 0.25), calibration=dict(widths=(0.25,)), monitor=dict(widths=(0.25,))),
    ],
    "case01": [*_us_simsiam, dict(objective=dict(distill="none"))],  # Table 7
    "case10": _case10,
    "case12": [_no_dynamic, _no_group, _no_head],
    "case13": [_no_dynamic, _no_group],
}
