"""Table 1: SimSiam S-Net with in-place distillation: case 2 on four fixed widths with batch norms of their own."""

_base_ = ["../table7/case02.py"]

method = "simsiam-s-net+distill"
backbone = dict(private_norms=(1.0, 0.75, 0.5, 0.25))
sampling = dict(widths=(1.0, 0.75, 0.5, 0.25))
