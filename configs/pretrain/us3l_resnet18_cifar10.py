"""US3L, ResNet-18 with the CIFAR stem on CIFAR-10: 400 epochs of batch 512 (docs/method.md, section 5)."""

_base_ = ["us3l_resnet18_cifar100.py"]

data = dict(name="cifar10")
