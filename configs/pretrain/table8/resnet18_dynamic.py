"""Table 8, ResNet-18: dynamic sampling."""

_base_ = ["resnet18_neither.py"]

sampling = dict(dynamic=True)
