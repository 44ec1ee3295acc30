"""Table 7, case 13: base InfoNCE, distillation MSE with head g, momentum targets; four networks an iteration."""

_base_ = ["../us3l_resnet18_cifar100.py"]

sampling = dict(dynamic=False)
optimizer = dict(alpha=0.0)
