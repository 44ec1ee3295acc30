"""The recipes of ``configs/transfer``, in the format of each framework: by them detectors are trained, and conversions
write configs for other people's programs."""

from pretrain.common.repository import CONFIGS

FOLDERS = {"detectron2": CONFIGS / "transfer", "mmdet": CONFIGS / "transfer/mmdet"}
RECIPES = {  # framework -> target -> file
    framework: {"coco": folder / "mask_rcnn_fpn_coco.py", "voc": folder / "faster_rcnn_fpn_voc.py"}
    for framework, folder in FOLDERS.items()
}
