"""Table 3, ViT-Tiny: US3L, where sub-networks learn by the same loss through a predictor of their own."""

_base_ = ["vit_tiny_us_mocov3.py"]

method = "us3l"
objective = dict(keys="base")
sampling = dict(dynamic=True)
