"""SimCLR at width 0.25 alone."""

_base_ = ["us_simclr.py"]

method = "simclr"
width_range = (0.25, 0.25)
calibration = dict(widths=(0.25,))
monitor = dict(widths=(0.25,))
