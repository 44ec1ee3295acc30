"""Table 9: sandwich rule and dynamic sampling, ResNet-18 on CIFAR-100."""

pretrain = dict(all=dict(config="configs/pretrain/table9.py:*"))
transfer = [dict(of="*", target="cifar100", widths=[1.0, 0.8, 0.6, 0.5, 0.3, 0.25], arguments=["--protocol", "paper"])]
tables = [dict(table="9")]
