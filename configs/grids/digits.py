"""A grid of minutes on embedded data, for demonstrations: US3L on digits, and its linear accuracy."""

pretrain = dict(
    us3l=dict(config="configs/pretrain/us3l_resnet18_digits.py"),
)
transfer = [dict(of="us3l", target="digits", widths=[1.0, 0.5])]
tables = [dict(table="widths", paper=False)]
