"""US3L, ResNet-18 with the CIFAR stem on CIFAR-100: the row of Tables 2 and 8."""

_base_ = ["us3l_resnet18_cifar10.py"]

data = dict(name="cifar100")
