"""Table 1: SimSiam, one training for each width; others by width_range=0.5,0.5."""

_base_ = ["../table2/resnet18_simsiam.py"]
