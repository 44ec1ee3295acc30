"""Table 8, ResNet-18: dynamic sampling and group regularisation, which is US3L."""

_base_ = ["resnet18_dynamic.py"]

optimizer = dict(alpha=0.05)
