"""Table 1: supervised, one training for each width; others by width_range=0.5,0.5."""

_base_ = ["supervised_s_net.py"]

method = "supervised"
width_range = (1.0, 1.0)
backbone = dict(private_norms=None)
sampling = dict(widths=None)
