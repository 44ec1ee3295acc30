"""Table 2, ResNet-18: US-Net with SimCLR, which is case 14 of Table 7."""

_base_ = ["../table7/case14.py"]

method = "us+simclr"
