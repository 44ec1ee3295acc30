"""Table 8, ResNet-18: group regularisation."""

_base_ = ["resnet18_neither.py"]

optimizer = dict(alpha=0.05)
