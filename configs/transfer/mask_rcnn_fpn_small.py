"""Mask R-CNN on images of 128 pixels, for one CPU core: a narrower pyramid and heads, few proposals, 300 iterations.

The recipe of mask_rcnn_fpn_coco.py otherwise, with AdamW and one cosine. No benchmark: it shows that training works.
"""

from detectron2 import model_zoo
from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler

from transfer.detection.detectron2.resolution import scale_to
from transfer.detection.detectron2.variants import narrow

from .mask_rcnn_fpn_coco import dataloader, model, train

scale_to(model, dataloader, 128)
narrow(model, 128, 256)
model.proposal_generator.pre_nms_topk = [100, 100]
model.proposal_generator.post_nms_topk = [50, 30]
model.proposal_generator.batch_size_per_image = 64
model.roi_heads.batch_size_per_image = 32
model.roi_heads.positive_fraction = 0.5

dataloader.train.total_batch_size = 4
dataloader.train.num_workers = dataloader.test.num_workers = 0
dataloader.test.batch_size = 10

optimizer = model_zoo.get_config("common/optim.py").AdamW
optimizer.lr = 1e-3
optimizer.weight_decay = 0.05
optimizer.fused = True
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(CosineParamScheduler)(start_value=1.0, end_value=0.01),
    warmup_length=0.1, warmup_method="linear", warmup_factor=0.05,
)  # fmt: skip
train.max_iter = 300
train.reference_world_size = 1
train.eval_period = 0
