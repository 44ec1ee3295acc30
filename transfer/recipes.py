"""The recipes of ``configs/transfer``, in the format of each framework: by them detectors are trained, and conversions
write configs for other people's programs."""

from pretrain.common.repository import CONFIGS
from transfer.targets import targets_of

FOLDERS = {"detectron2": CONFIGS / "transfer", "mmdet": CONFIGS / "transfer/mmdet"}
RECIPES = {  # framework -> target -> file
    framework: {name: folder / target.recipe for name, target in targets_of("detection").items()}
    for framework, folder in FOLDERS.items()
}
