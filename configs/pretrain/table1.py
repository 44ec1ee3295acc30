"""Table 1: individual networks, S-Net and S-Net with distillation, with and without labels, ResNet-18 on CIFAR-100.

An S-Net has four widths with batch norms of their own. Individual rows are those of width 1; others by
width_range=0.5,0.5. The "US3L" of this table is case 8 of Table 7: no dynamic sampling, no group regularisation.
"""

from dataclasses import asdict

from pretrain.sections import LINEAR_EVALUATION as _LINEAR_EVALUATION
from pretrain.slimmable.widths import FOUR_WIDTHS as _FOUR_WIDTHS

_base_ = ["_base_/us3l.py", "_base_/cifar100_resnet18.py"]

optimizer = dict(alpha=0.0)

_individual = dict(width_range=(1.0, 1.0))
_s_net = dict(backbone=dict(private_norms=_FOUR_WIDTHS), sampling=dict(widths=_FOUR_WIDTHS))
_supervised = dict(  # 200 epochs, the views of linear evaluation
    objective=dict(_delete_=True, name="supervised", distill=False),
    optimizer=dict(lr=1.0),
    data=dict(views=asdict(_LINEAR_EVALUATION)),
    training=dict(epochs=200),
)
_mse = dict(objective=dict(base="mse"), sampling=dict(dynamic=False), optimizer=dict(lr=0.05, weight_decay=5e-4))
_simsiam = [_mse, dict(objective=dict(aux_head=False, momentum_base=False, momentum_sub=False))]

rows = {
    "supervised_individual": [_supervised, _individual, dict(method="supervised")],
    "supervised_s_net": [_supervised, _s_net, dict(method="supervised-s-net")],
    "supervised_s_net_distill": [
        _supervised, _s_net, dict(method="supervised-s-net+distill", objective=dict(distill=True)),
    ],
    "simsiam_individual": [*_simsiam, _individual, dict(method="simsiam")],
    "simsiam_s_net": [*_simsiam, _s_net, dict(method="simsiam-s-net", objective=dict(distill="none"))],  # collapses
    "simsiam_s_net_distill": [*_simsiam, _s_net, dict(method="simsiam-s-net+distill")],
    "us3l": [_mse, dict(objective=dict(distill="infonce"))],
}  # fmt: skip
