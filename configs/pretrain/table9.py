"""Table 9: sandwich rule and dynamic sampling, without group regularisation, ResNet-18 on CIFAR-100. The sandwich rule
alone is case 13 of Table 7."""

_base_ = ["_base_/us3l.py", "_base_/cifar100_resnet18.py"]

optimizer = dict(alpha=0.0)

rows = {
    "neither": dict(sampling=dict(sandwich=False, dynamic=False)),
    "sandwich": dict(sampling=dict(dynamic=False)),
    "dynamic": dict(sampling=dict(sandwich=False)),
    "both": {},
}
