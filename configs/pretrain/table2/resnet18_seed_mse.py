"""Table 2, ResNet-18: SEED-MSE, one training for each width; objective.teacher names a full-width BYOL checkpoint."""

_base_ = ["resnet18_seed.py"]

method = "seed-mse"
objective = dict(loss="mse")
optimizer = dict(weight_decay=5e-4)
