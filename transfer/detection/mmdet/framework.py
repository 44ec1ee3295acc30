"""mmdet as one of the frameworks that train detectors."""

from typing import Any

from transfer.convert.mmdet import check_sayable
from transfer.detection.framework import Framework, Training
from transfer.detection.job import Job
from transfer.detection.mmdet import recipe, resolution
from transfer.installed import require_detectron2, require_mmdet


class Mmdet(Framework):
    """mmengine's configs and runner, mmdet's models."""

    name, reads, task = "mmdet", "mask_rcnn_fpn.py", "detection_mmdet"
    left = ("*.py", "20??????_??????")  # the last is mmengine's, named by the time

    def require(self, target: str) -> None:
        require_mmdet()
        if target == "voc":
            require_detectron2()  # whose functions evaluate on VOC, so that both frameworks' figures can be compared

    check_sayable = staticmethod(check_sayable)
    recipe_path = staticmethod(recipe.recipe_path)
    resolve = staticmethod(recipe.resolve)
    settings_values = staticmethod(recipe.settings_values)
    summary = staticmethod(recipe.summary)

    def image_size(self, config: Any) -> int:
        return resolution.image_size(config)

    def training(self, job: Job, config: Any) -> Training:
        from transfer.detection.mmdet.training import MmdetTraining

        return MmdetTraining(job, config)
