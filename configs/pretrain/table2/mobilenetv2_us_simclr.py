"""Table 2, MobileNetV2."""

_base_ = ["resnet18_us_simclr.py"]

backbone = dict(name="mobilenetv2")
