"""Table 2, ResNet-18: BYOL, one training for each width; others by width_range=0.5,0.5. Keeps the projector, so that a
full-width one can teach SEED."""

_base_ = ["../table7/case03.py"]

method = "byol"
width_range = (1.0, 1.0)
training = dict(keep_projector=True)
