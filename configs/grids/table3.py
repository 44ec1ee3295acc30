"""Table 3: vision transformers on CIFAR-10 at 224 px: MoCo v3 for each width, US+MoCo v3 and US3L once."""

from pretrain.slimmable.widths import FOUR_WIDTHS as _FOUR_WIDTHS

pretrain = dict(
    once=dict(config="configs/pretrain/table3.py:*_us*"),
    vit_tiny_mocov3=dict(config="configs/pretrain/table3.py:vit_tiny_mocov3", widths=_FOUR_WIDTHS),
    vit_small_mocov3=dict(config="configs/pretrain/table3.py:vit_small_mocov3", widths=_FOUR_WIDTHS),
)
transfer = [dict(of="*", target="cifar10", arguments=["--protocol", "paper"])]
tables = [dict(table="3")]
