"""Table 3, ViT-Tiny: MoCo v3, one training for each width; others by width_range=0.5,0.5."""

_base_ = ["vit_tiny_us_mocov3.py"]

method = "mocov3"
width_range = (1.0, 1.0)
