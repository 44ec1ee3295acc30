"""Table 2: what is trained once and what is trained for each of nine widths, on CIFAR-100, three backbones."""

from pretrain.slimmable.widths import NINE_WIDTHS as _NINE_WIDTHS


def each_width(row, **teacher):
    return dict(config=f"configs/pretrain/table2.py:{row}", widths=_NINE_WIDTHS, **teacher)


pretrain = dict(
    once=dict(config="configs/pretrain/table2.py:*_us*"),
    resnet18_simclr=each_width("resnet18_simclr"),
    resnet18_simsiam=each_width("resnet18_simsiam"),
    resnet18_byol=each_width("resnet18_byol"),
    resnet50_byol=each_width("resnet50_byol"),
    mobilenetv2_byol=each_width("mobilenetv2_byol"),
    resnet18_seed=each_width("resnet18_seed", teacher="resnet50_byol-w1"),
    resnet50_seed=each_width("resnet50_seed", teacher="resnet50_byol-w1"),
    resnet18_seed_mse_of_resnet18=each_width("resnet18_seed_mse", teacher="resnet18_byol-w1"),
    resnet18_seed_mse_of_resnet50=each_width("resnet18_seed_mse", teacher="resnet50_byol-w1"),
    resnet50_seed_mse=each_width("resnet50_seed_mse", teacher="resnet50_byol-w1"),
    mobilenetv2_seed_mse_of_resnet50=each_width("mobilenetv2_seed_mse", teacher="resnet50_byol-w1"),
    mobilenetv2_seed_mse_of_mobilenetv2=each_width("mobilenetv2_seed_mse", teacher="mobilenetv2_byol-w1"),
)
transfer = [dict(of="*", target="cifar100", widths=_NINE_WIDTHS, arguments=["--protocol", "paper"])]
tables = [dict(table="2")]
