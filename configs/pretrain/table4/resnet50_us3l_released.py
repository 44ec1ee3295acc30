"""Table 4, ResNet-50: US3L as the released program trains it, probably the paper's figures: cosine base and
distillation with h, g and momentum, 2048 outputs, lr 0.05 for 480 images."""

_base_ = ["resnet50_us3l.py"]

objective = dict(base="mse")
optimizer = dict(lr=0.05, lr_batch=480)
