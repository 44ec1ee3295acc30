"""US3L, ResNet-18 with the CIFAR stem on CIFAR-100: the row of Tables 2 and 8."""

_base_ = ["_base_/us3l.py", "_base_/cifar100_resnet18.py"]
