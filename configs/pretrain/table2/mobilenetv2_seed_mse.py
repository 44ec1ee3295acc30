"""Table 2, MobileNetV2."""

_base_ = ["resnet18_seed_mse.py"]

backbone = dict(name="mobilenetv2")
