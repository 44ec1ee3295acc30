"""Table 4, ResNet-18: US3L by the paper's text."""

_base_ = ["resnet50_us3l.py"]

backbone = dict(name="resnet18")
