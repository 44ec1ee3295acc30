"""Photographs without labels, on a machine without a GPU: ResNet-18 of half the channels (ImageNet stem) at 64 px.

``data.root`` names a folder, a list or an archive of images (docs/data.md). docs/tutorial.md goes on to detectors.
"""

from pretrain.slimmable.widths import FOUR_WIDTHS as _FOUR_WIDTHS

_base_ = ["_base_/us3l.py"]

backbone = dict(name="resnet18", stem="imagenet", base_channels=32)
objective = dict(hidden=512, outputs=128)
data = dict(name="folder", image_size=64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
training = dict(epochs=10, batch_size=128, log_interval=50, checkpoint_interval=500)
calibration = dict(widths=_FOUR_WIDTHS, batch_size=128, batches=20)
