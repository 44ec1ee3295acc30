"""Mask R-CNN on digit scenes of 128 pixels, small and short enough for two CPU cores: a minute or two.

The recipe of mask_rcnn_fpn_coco.py with a narrower pyramid and heads, few proposals, and AdamW with one cosine.
"""

from detectron2 import model_zoo
from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler

from transfer.detection.resolution import scale_to

from .mask_rcnn_fpn_coco import dataloader, model, train

scale_to(model, dataloader, 128)

# Digits are 38 to 70 pixels large: three levels of anchors are enough, and the finest level has cells for all regions.
model.backbone.top_block = None
model.proposal_generator.in_features = ["p3", "p4", "p5"]
model.proposal_generator.anchor_generator.sizes = [[32], [48], [64]]
model.proposal_generator.anchor_generator.strides = [8, 16, 32]
for pooler in (model.roi_heads.box_pooler, model.roi_heads.mask_pooler):
    pooler.scales, pooler.sampling_ratio = [1 / 4], 1
model.roi_heads.box_in_features = model.roi_heads.mask_in_features = ["p2"]

channels = 64
model.backbone.out_channels = channels
model.proposal_generator.head.in_channels = channels
model.proposal_generator.pre_nms_topk = [100, 100]
model.proposal_generator.post_nms_topk = [50, 30]
model.proposal_generator.batch_size_per_image = 64
model.roi_heads.batch_size_per_image = 32
model.roi_heads.positive_fraction = 0.5
model.roi_heads.box_head.input_shape.channels = channels
model.roi_heads.box_head.conv_dims = [channels]
model.roi_heads.box_head.fc_dims = [256]
model.roi_heads.box_predictor.input_shape.channels = 256
# One box and one mask regression for all digits: ten would each learn from a tenth of them.
model.roi_heads.box_predictor.cls_agnostic_bbox_reg = True
model.roi_heads.mask_head.num_classes = 1
model.roi_heads.mask_head.input_shape.channels = channels
model.roi_heads.mask_head.conv_dims = [channels, channels]

dataloader.train.mapper.augmentations = dataloader.train.mapper.augmentations[:1]  # a mirrored 2 is no 2
dataloader.train.mapper.augmentations[0].short_edge_length = [128]
dataloader.train.total_batch_size = 2
dataloader.train.aspect_ratio_grouping = False
dataloader.test.batch_size = 10
dataloader.train.num_workers = dataloader.test.num_workers = 0

optimizer = model_zoo.get_config("common/optim.py").AdamW
optimizer.lr = 1e-3
optimizer.weight_decay = 0.05
optimizer.fused = True
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(CosineParamScheduler)(start_value=1.0, end_value=0.01),
    warmup_length=0.1, warmup_method="linear", warmup_factor=0.05,
)  # fmt: skip
train.max_iter = 200
train.eval_period = 0
