"""Table 1: individual networks, S-Net and S-Net with distillation, with and without labels, ResNet-18 on CIFAR-100."""

pretrain = dict(
    supervised=dict(config="configs/pretrain/table1.py:supervised_individual", widths=[1.0, 0.75, 0.5, 0.25]),
    simsiam=dict(config="configs/pretrain/table1.py:simsiam_individual", widths=[1.0, 0.75, 0.5, 0.25]),
    slimmable=dict(config="configs/pretrain/table1.py:*s_net*"),
    us3l=dict(config="configs/pretrain/table1.py:us3l"),
)
transfer = [dict(of="*", target="cifar100", arguments=["--protocol", "paper"])]
tables = [dict(table="1")]
