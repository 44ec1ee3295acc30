"""Table 3, ViT-Small."""

_base_ = ["vit_tiny_mocov3.py"]

backbone = dict(name="vit_small")
