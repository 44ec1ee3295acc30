"""Table 4: ImageNet, ResNet-18 and ResNet-50: BYOL for each width, US+BYOL and US3L once."""

from pretrain.slimmable.widths import FOUR_WIDTHS as _FOUR_WIDTHS

pretrain = dict(
    once=dict(config="configs/pretrain/table4.py:*_us*"),
    resnet18_byol=dict(config="configs/pretrain/table4.py:resnet18_byol", widths=_FOUR_WIDTHS),
    resnet50_byol=dict(config="configs/pretrain/table4.py:resnet50_byol", widths=_FOUR_WIDTHS),
)
transfer = [dict(of="*", target="imagenet", arguments=["--protocol", "paper"])]
tables = [dict(table="4")]
