"""Table 2, ResNet-18: SimCLR, one training for each width; others by width_range=0.5,0.5."""

_base_ = ["resnet18_us_simclr.py"]

method = "simclr"
width_range = (1.0, 1.0)
