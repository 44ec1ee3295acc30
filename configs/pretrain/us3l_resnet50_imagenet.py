"""US3L, ResNet-50 on ImageNet, by the paper's text (docs/method.md, section 5); the released recipe: table4.py."""

_base_ = ["_base_/us3l.py", "_base_/imagenet.py"]
