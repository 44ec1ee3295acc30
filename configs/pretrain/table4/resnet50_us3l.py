"""Table 4 (and 5, 6, Figure 3), ResNet-50: US3L by the paper's text."""

_base_ = ["../us3l_resnet50_imagenet.py"]
