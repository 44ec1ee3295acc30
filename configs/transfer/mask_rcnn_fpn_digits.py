"""Mask R-CNN on digit scenes of 128 pixels, small and short enough for two CPU cores: a minute or two.

The recipe of mask_rcnn_fpn_small.py with half the channels, and regions from one level.
"""

from transfer.detection.detectron2.variants import narrow

from .mask_rcnn_fpn_small import dataloader, lr_multiplier, model, optimizer, train  # noqa: F401

# Digits are 38 to 70 pixels large: three levels of anchors are enough, and the finest level has cells for all regions.
model.backbone.top_block = None
model.proposal_generator.in_features = ["p3", "p4", "p5"]
model.proposal_generator.anchor_generator.sizes = [[32], [48], [64]]
model.proposal_generator.anchor_generator.strides = [8, 16, 32]
for pooler in (model.roi_heads.box_pooler, model.roi_heads.mask_pooler):
    pooler.scales, pooler.sampling_ratio = [1 / 4], 1
model.roi_heads.box_in_features = model.roi_heads.mask_in_features = ["p2"]

channels = 64
narrow(model, channels, 256)
model.roi_heads.box_head.conv_dims = [channels]
# One box and one mask regression for all digits: ten would each learn from a tenth of them.
model.roi_heads.box_predictor.cls_agnostic_bbox_reg = True
model.roi_heads.mask_head.num_classes = 1

dataloader.train.mapper.augmentations = dataloader.train.mapper.augmentations[:1]  # a mirrored 2 is no 2
dataloader.train.mapper.augmentations[0].short_edge_length = [128]
dataloader.train.total_batch_size = 2
dataloader.train.aspect_ratio_grouping = False
train.max_iter = 200
