"""Table 1: SimSiam S-Net: case 1 on four fixed widths with batch norms of their own (collapses)."""

_base_ = ["simsiam_s_net_distill.py"]

method = "simsiam-s-net"
objective = dict(distill="none")
