"""Table 4, ResNet-50: US-Net with BYOL (case 3 of Table 7)."""

_base_ = ["../us3l_resnet50_imagenet.py"]

method = "us+byol"
objective = dict(base="mse", aux_head=False)
sampling = dict(dynamic=False)
optimizer = dict(lr=0.05, alpha=0.0)
