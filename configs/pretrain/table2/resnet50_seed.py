"""Table 2, ResNet-50: 8 chunks, as on the paper's 8 GPUs of 64."""

_base_ = ["resnet18_seed.py"]

backbone = dict(name="resnet50")
training = dict(chunks=8)
