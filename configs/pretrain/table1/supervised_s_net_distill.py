"""Table 1: S-Net with labels for the largest width, whose prediction the others learn."""

_base_ = ["supervised_s_net.py"]

method = "supervised-s-net+distill"
objective = dict(distill=True)
