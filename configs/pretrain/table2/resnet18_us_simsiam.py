"""Table 2, ResNet-18: US-Net with SimSiam, which is case 2 of Table 7."""

_base_ = ["../table7/case02.py"]

method = "us+simsiam"
