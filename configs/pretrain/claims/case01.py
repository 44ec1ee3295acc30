"""Table 7, case 1: US-Net with SimSiam where every width has targets of its own."""

_base_ = ["us_simsiam.py"]

objective = dict(distill="none")
