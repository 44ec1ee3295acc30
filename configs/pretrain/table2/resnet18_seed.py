"""Table 2, ResNet-18: SEED, one training for each width; objective.teacher names a full-width BYOL checkpoint."""

_base_ = ["../_base_/cifar100_resnet18.py"]

method = "seed"
width_range = (1.0, 1.0)
objective = dict(name="seed", loss="queue")
optimizer = dict(lr=0.05, weight_decay=1e-4, alpha=0.0)
