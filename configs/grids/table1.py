"""Table 1: individual networks, S-Net and S-Net with distillation, with and without labels, ResNet-18 on CIFAR-100."""

from pretrain.slimmable.widths import FOUR_WIDTHS as _FOUR_WIDTHS

pretrain = dict(
    supervised=dict(config="configs/pretrain/table1.py:supervised_individual", widths=_FOUR_WIDTHS),
    simsiam=dict(config="configs/pretrain/table1.py:simsiam_individual", widths=_FOUR_WIDTHS),
    slimmable=dict(config="configs/pretrain/table1.py:*s_net*"),
    us3l=dict(config="configs/pretrain/table1.py:us3l"),
)
transfer = [dict(of="*", target="cifar100", arguments=["--protocol", "paper"])]
tables = [dict(table="1")]
