"""Names of detectron2's recipes that tests train by."""

from transfer.recipes import FOLDERS, RECIPES

COCO, VOC = RECIPES["detectron2"]["coco"], RECIPES["detectron2"]["voc"]
DIGITS = FOLDERS["detectron2"] / "mask_rcnn_fpn_digits.py"
