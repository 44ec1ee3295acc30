"""Table 2, MobileNetV2."""

_base_ = ["resnet18_byol.py"]

backbone = dict(name="mobilenetv2")
