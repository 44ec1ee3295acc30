"""Mask R-CNN with a feature pyramid on COCO 2017, 90k iterations of 16 images (docs/method.md, section 5, "Detection").

mmdet's own config, changed as the detectron2 recipe is: no frozen stages, and batch norms that train in backbone,
pyramid and mask head. Images are in RGB order there already.
"""

_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"

norm_cfg = dict(type="BN", requires_grad=True)
sync_bn = "torch"  # several processes normalise over all of them
model = dict(
    backbone=dict(frozen_stages=-1, norm_eval=False, norm_cfg=norm_cfg),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(mask_head=dict(norm_cfg=norm_cfg)),
)

train_dataloader = dict(batch_size=2, sampler=dict(type="InfiniteSampler", shuffle=True))
train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=90000, val_interval=10000)
optim_wrapper = dict(optimizer=dict(lr=0.02))  # for 8 processes of 2 images
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=90000, milestones=[60000, 80000], gamma=0.1),
]
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(by_epoch=False, interval=5000, max_keep_ckpts=2),
)
log_processor = dict(by_epoch=False)
