"""Table 8, MobileNetV2."""

_base_ = ["resnet18_neither.py"]

backbone = dict(name="mobilenetv2")
