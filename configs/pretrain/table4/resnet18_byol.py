"""Table 4, ResNet-18, with BYOL's weight decay on CIFAR."""

_base_ = ["resnet50_byol.py"]

backbone = dict(name="resnet18")
optimizer = dict(weight_decay=5e-4)
