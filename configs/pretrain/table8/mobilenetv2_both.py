"""Table 8, MobileNetV2."""

_base_ = ["resnet18_both.py"]

backbone = dict(name="mobilenetv2")
