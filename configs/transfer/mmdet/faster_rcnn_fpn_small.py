"""Faster R-CNN on VOC's layout at 128 pixels, for one CPU core: mask_rcnn_fpn_small.py without its mask head."""

_base_ = "mask_rcnn_fpn_small.py"

model = dict(type="FasterRCNN", roi_head=dict(mask_roi_extractor=None, mask_head=None))
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(213, 128), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
voc = dict(type="VOCDataset", data_root="data/VOCdevkit/")
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="ConcatDataset",
        ignore_keys=["dataset_type"],
        datasets=[dict(voc, filter_cfg=dict(filter_empty_gt=True, min_size=32), pipeline=train_pipeline)],
    )
)
val_dataloader = dict(dataset=dict(_delete_=True, **voc, test_mode=True, pipeline={{_base_.test_pipeline}}))
