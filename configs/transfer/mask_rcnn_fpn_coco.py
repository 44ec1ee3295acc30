"""Mask R-CNN with a feature pyramid on COCO 2017, 90k iterations of 16 images (docs/method.md, section 5, "Detection").

He et al., "Mask R-CNN" (ICCV 2017), with detectron2's own classes and defaults. What differs from its model zoo: no
frozen stages, batch norms that train in backbone, pyramid and heads, and images in RGB order.
"""

import torch
from detectron2 import model_zoo
from detectron2.config import LazyCall as L
from detectron2.modeling.backbone import BasicStem, ResNet
from detectron2.modeling.backbone.resnet import BottleneckBlock
from detectron2.utils import comm

# Statistics over all processes; SyncBN has no path for several processes without GPUs.
norm = "SyncBN" if comm.get_world_size() > 1 and torch.cuda.is_available() else "BN"

model = model_zoo.get_config("common/models/mask_rcnn_fpn.py").model
model.backbone.bottom_up = L(ResNet)(
    stem=L(BasicStem)(in_channels=3, out_channels=64, norm=norm),
    stages=[
        L(ResNet.make_stage)(
            block_class=BottleneckBlock, num_blocks=blocks, stride_per_block=[stride] + [1] * (blocks - 1),
            in_channels=inputs, bottleneck_channels=inner, out_channels=4 * inner, stride_in_1x1=False, norm=norm,
        )
        for blocks, stride, inputs, inner in ((3, 1, 64, 64), (4, 2, 256, 128), (6, 2, 512, 256), (3, 2, 1024, 512))
    ],
    out_features=["res2", "res3", "res4", "res5"],
    freeze_at=0,
)  # fmt: skip
model.backbone.norm = norm
model.roi_heads.box_head.conv_norm = norm
model.roi_heads.mask_head.conv_norm = norm
model.input_format = "RGB"
model.pixel_mean = [123.675, 116.28, 103.53]
model.pixel_std = [58.395, 57.12, 57.375]

dataloader = model_zoo.get_config("common/data/coco.py").dataloader
dataloader.train.mapper.image_format = "RGB"

optimizer = model_zoo.get_config("common/optim.py").SGD
lr_multiplier = model_zoo.get_config("common/coco_schedule.py").lr_multiplier_1x
train = model_zoo.get_config("common/train.py").train
train.device = "cuda" if torch.cuda.is_available() else "cpu"
train.seed = 0
train.reference_world_size = 8  # processes that share the batch of 16
