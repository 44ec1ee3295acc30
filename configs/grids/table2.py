"""Table 2: what is trained once and what is trained for each of nine widths, on CIFAR-100, three backbones."""

nine_widths = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25]

pretrain = dict(
    resnet18=dict(config="configs/pretrain/table2/resnet18_us*.py"),
    resnet50=dict(config="configs/pretrain/table2/resnet50_us*.py"),
    mobilenetv2=dict(config="configs/pretrain/table2/mobilenetv2_us*.py"),
    resnet18_simclr=dict(config="configs/pretrain/table2/resnet18_simclr.py", widths=nine_widths),
    resnet18_simsiam=dict(config="configs/pretrain/table2/resnet18_simsiam.py", widths=nine_widths),
    resnet18_byol=dict(config="configs/pretrain/table2/resnet18_byol.py", widths=nine_widths),
    resnet50_byol=dict(config="configs/pretrain/table2/resnet50_byol.py", widths=nine_widths),
    mobilenetv2_byol=dict(config="configs/pretrain/table2/mobilenetv2_byol.py", widths=nine_widths),
    resnet18_seed=dict(
        config="configs/pretrain/table2/resnet18_seed.py",
        widths=nine_widths,
        teacher="resnet50_byol-w1",
    ),
    resnet50_seed=dict(
        config="configs/pretrain/table2/resnet50_seed.py",
        widths=nine_widths,
        teacher="resnet50_byol-w1",
    ),
    resnet18_seed_mse_of_resnet18=dict(
        config="configs/pretrain/table2/resnet18_seed_mse.py",
        widths=nine_widths,
        teacher="resnet18_byol-w1",
    ),
    resnet18_seed_mse_of_resnet50=dict(
        config="configs/pretrain/table2/resnet18_seed_mse.py",
        widths=nine_widths,
        teacher="resnet50_byol-w1",
    ),
    resnet50_seed_mse=dict(
        config="configs/pretrain/table2/resnet50_seed_mse.py",
        widths=nine_widths,
        teacher="resnet50_byol-w1",
    ),
    mobilenetv2_seed_mse_of_resnet50=dict(
        config="configs/pretrain/table2/mobilenetv2_seed_mse.py",
        widths=nine_widths,
        teacher="resnet50_byol-w1",
    ),
    mobilenetv2_seed_mse_of_mobilenetv2=dict(
        config="configs/pretrain/table2/mobilenetv2_seed_mse.py",
        widths=nine_widths,
        teacher="mobilenetv2_byol-w1",
    ),
)
transfer = [
    dict(
        of="*",
        target="cifar100",
        widths=nine_widths,
        arguments=["--protocol", "paper"],
    )
]
tables = [dict(table="2")]

del nine_widths  # no key of a grid
