"""Table 8, MobileNetV2."""

_base_ = ["resnet18_group.py"]

backbone = dict(name="mobilenetv2")
