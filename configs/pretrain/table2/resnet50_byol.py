"""Table 2, ResNet-50: BYOL, with less weight decay than ResNet-18's."""

_base_ = ["resnet18_byol.py"]

backbone = dict(name="resnet50")
optimizer = dict(weight_decay=1e-4)
training = dict(chunks=8)
