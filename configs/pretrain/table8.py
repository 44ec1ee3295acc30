"""Table 8: dynamic sampling and group regularisation, three backbones on CIFAR-100. Neither is case 13 of Table 7, both
is US3L."""

_base_ = ["_base_/us3l.py", "_base_/cifar100_resnet18.py"]

_resnet50 = dict(backbone=dict(name="resnet50"), training=dict(chunks=8))  # the paper's 8 GPUs of 64
_mobilenetv2 = dict(backbone=dict(name="mobilenetv2"))
_no_dynamic = dict(sampling=dict(dynamic=False))
_no_group = dict(optimizer=dict(alpha=0.0))

rows = {
    "resnet18_neither": [_no_dynamic, _no_group],
    "resnet18_dynamic": _no_group,
    "resnet18_group": _no_dynamic,
    "resnet18_both": {},
    "resnet50_neither": [_resnet50, _no_dynamic, _no_group],
    "resnet50_dynamic": [_resnet50, _no_group],
    "resnet50_group": [_resnet50, _no_dynamic],
    "resnet50_both": _resnet50,
    "mobilenetv2_neither": [_mobilenetv2, _no_dynamic, _no_group],
    "mobilenetv2_dynamic": [_mobilenetv2, _no_group],
    "mobilenetv2_group": [_mobilenetv2, _no_dynamic],
    "mobilenetv2_both": _mobilenetv2,
}
