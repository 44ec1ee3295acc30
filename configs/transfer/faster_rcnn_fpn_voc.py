"""Faster R-CNN with a feature pyramid on VOC 07+12 trainval, 24k iterations of 16 images (docs/method.md, section 5).

Ren et al., "Faster R-CNN" (NeurIPS 2015). Schedule and image sizes are those of He et al., "Momentum contrast" (CVPR
2020), by which self-supervised backbones are compared; the model is mask_rcnn_fpn_coco.py's without its mask head.
"""

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler

from transfer.detection.detectron2.variants import to_voc

from .mask_rcnn_fpn_coco import dataloader, model, optimizer, train  # noqa: F401

to_voc(model, dataloader)
dataloader.train.mapper.augmentations[0].short_edge_length = list(range(480, 801, 32))

train.max_iter = 24_000
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.1, 0.01], milestones=[18_000, 22_000, 24_000]),
    warmup_length=100 / 24_000, warmup_method="linear", warmup_factor=0.001,
)  # fmt: skip
