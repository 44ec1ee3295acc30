"""US-Net with SimSiam (Table 7, case 2)."""

_base_ = ["case10.py"]

method = "us+simsiam"
objective = dict(base="mse", outputs=512)
optimizer = dict(lr=0.05, weight_decay=5e-4)
