"""Faster R-CNN on VOC's layout at 128 pixels, for one CPU core: mask_rcnn_fpn_small.py without its mask head."""

from transfer.detection.detectron2.variants import to_voc

from .mask_rcnn_fpn_small import dataloader, lr_multiplier, model, optimizer, train  # noqa: F401

to_voc(model, dataloader)
