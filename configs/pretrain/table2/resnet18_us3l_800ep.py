"""Table 2, ResNet-18: US3L, 800 epochs."""

_base_ = ["resnet18_us3l.py"]

training = dict(epochs=800)
