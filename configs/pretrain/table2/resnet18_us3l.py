"""Table 2, ResNet-18: US3L."""

_base_ = ["../us3l_resnet18_cifar100.py"]
