"""Figure 3: Pascal VOC with Faster R-CNN R-50 FPN: random weights, BYOL for each width, US3L once, both of Table 4."""

from pretrain.slimmable.widths import FOUR_WIDTHS as _FOUR_WIDTHS

pretrain = dict(
    us3l=dict(config="configs/pretrain/table4.py:resnet50_us3l"),
    byol=dict(config="configs/pretrain/table4.py:resnet50_byol", widths=_FOUR_WIDTHS),
)
transfer = [
    dict(of="*", target="voc", frameworks=["detectron2"]),
    dict(of="us3l", target="voc", frameworks=["detectron2"], inits=["random"]),
]
tables = [dict(table="figure3", plot=True)]
