"""US-Net with SimCLR (Table 7, case 14)."""

_base_ = ["case10.py"]

method = "us+simclr"
objective = dict(distill="infonce")
