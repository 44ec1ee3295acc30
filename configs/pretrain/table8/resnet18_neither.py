"""Table 8, ResNet-18: neither dynamic sampling nor group regularisation, which is case 13 of Table 7."""

_base_ = ["../table7/case13.py"]
