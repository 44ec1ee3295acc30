"""Table 6: the ResNet-50 of Table 4 on five recognition data sets."""

from pretrain.slimmable.widths import FOUR_WIDTHS as _FOUR_WIDTHS

pretrain = dict(
    us3l=dict(config="configs/pretrain/table4.py:resnet50_us3l"),
    byol=dict(config="configs/pretrain/table4.py:resnet50_byol", widths=_FOUR_WIDTHS),
)
transfer = [
    dict(of="*", target=target, arguments=["--protocol", "paper", "--image-size", "224"])
    for target in ("cifar10", "cifar100", "flowers", "pets", "dtd")
]
tables = [dict(table="6")]
