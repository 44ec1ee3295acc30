"""Table 7: the loss design, cases 1 to 17, ResNet-18 on CIFAR-100."""

pretrain = dict(cases=dict(config="configs/pretrain/table7.py:case*"))
transfer = [
    dict(
        of="*",
        target="cifar100",
        widths=[1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25],
        arguments=["--protocol", "paper"],
    )
]
tables = [dict(table="7")]
