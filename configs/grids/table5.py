"""Table 5: COCO 2017 with Mask R-CNN R-50 FPN: BYOL for each width, US3L once, both of Table 4."""

from pretrain.slimmable.widths import FOUR_WIDTHS as _FOUR_WIDTHS

pretrain = dict(
    us3l=dict(config="configs/pretrain/table4.py:resnet50_us3l"),
    byol=dict(config="configs/pretrain/table4.py:resnet50_byol", widths=_FOUR_WIDTHS),
)
transfer = [dict(of="*", target="coco", frameworks=["detectron2"])]
tables = [dict(table="5")]
