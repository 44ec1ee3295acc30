"""US3L with an optimizer step after each width, as in the released program."""

_base_ = ["_base.py"]

training = dict(update="per_width")
