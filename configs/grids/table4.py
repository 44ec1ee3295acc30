"""Table 4: ImageNet, ResNet-18 and ResNet-50: BYOL for each width, US+BYOL and US3L once."""

pretrain = dict(
    once=dict(config="configs/pretrain/table4.py:*_us*"),
    resnet18_byol=dict(config="configs/pretrain/table4.py:resnet18_byol", widths=[1.0, 0.75, 0.5, 0.25]),
    resnet50_byol=dict(config="configs/pretrain/table4.py:resnet50_byol", widths=[1.0, 0.75, 0.5, 0.25]),
)
transfer = [dict(of="*", target="imagenet", arguments=["--protocol", "paper"])]
tables = [dict(table="4")]
