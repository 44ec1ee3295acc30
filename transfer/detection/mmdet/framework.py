"""mmdet as one of the frameworks that train detectors."""

from pathlib import Path
from typing import Any

from torch import nn

from transfer.convert.mmdet import check_sayable
from transfer.detection.data import Data
from transfer.detection.framework import Framework, Training
from transfer.detection.job import Job
from transfer.detection.mmdet import recipe, resolution
from transfer.detection.settings import DetectionSettings, Resolved
from transfer.installed import require_detectron2, require_mmdet


class Mmdet(Framework):
    """mmengine's configs and runner, mmdet's models."""

    name, task = "mmdet", "detection_mmdet"
    left = ("*.py", "20??????_??????")  # the last is mmengine's, named by the time

    def require(self, target: str) -> None:
        require_mmdet()
        if target == "voc":
            require_detectron2()  # whose functions evaluate on VOC, so that both frameworks' figures can be compared

    def check_sayable(self, plain: nn.Module) -> None:
        check_sayable(plain)

    def recipe_path(self, settings: DetectionSettings) -> Path:
        return recipe.recipe_path(settings)

    def resolve(self, settings: DetectionSettings, backbone: Path, data: Data, folder: Path) -> Resolved:
        return recipe.resolve(settings, backbone, data, folder)

    def plain_settings(self, config: Any) -> dict:
        return recipe.plain_settings(config)

    def summary(self, resolved: Resolved, data: Data) -> str:
        return recipe.summary(resolved, data)

    def image_size(self, config: Any) -> int:
        return resolution.image_size(config)

    def training(self, job: Job, config: Any) -> Training:
        from transfer.detection.mmdet.training import MmdetTraining

        return MmdetTraining(job, config)
