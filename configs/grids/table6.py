"""Table 6: the ResNet-50 of Table 4 on five recognition data sets."""

pretrain = dict(
    us3l=dict(config="configs/pretrain/table4.py:resnet50_us3l"),
    byol=dict(config="configs/pretrain/table4.py:resnet50_byol", widths=[1.0, 0.75, 0.5, 0.25]),
)
transfer = [
    dict(of="*", target=target, arguments=["--protocol", "paper", "--image-size", "224"])
    for target in ("cifar10", "cifar100", "flowers", "pets", "dtd")
]
tables = [dict(table="6")]
