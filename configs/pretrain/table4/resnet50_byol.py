"""Table 4 (and 5, 6, Figure 3), ResNet-50: BYOL, one training for each width; others by width_range=0.5,0.5."""

_base_ = ["resnet50_us_byol.py"]

method = "byol"
width_range = (1.0, 1.0)
