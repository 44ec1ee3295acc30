"""Table 3, ViT-Small."""

_base_ = ["vit_tiny_us3l.py"]

backbone = dict(name="vit_small")
