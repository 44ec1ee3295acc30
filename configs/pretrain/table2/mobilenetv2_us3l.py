"""Table 2, MobileNetV2."""

_base_ = ["resnet18_us3l.py"]

backbone = dict(name="mobilenetv2")
