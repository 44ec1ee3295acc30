"""Table 7: the loss design, cases 1 to 17, ResNet-18 on CIFAR-100."""

from pretrain.slimmable.widths import NINE_WIDTHS as _NINE_WIDTHS

pretrain = dict(cases=dict(config="configs/pretrain/table7.py:case*"))
transfer = [
    dict(
        of="*",
        target="cifar100",
        widths=_NINE_WIDTHS,
        arguments=["--protocol", "paper"],
    )
]
tables = [dict(table="7")]
