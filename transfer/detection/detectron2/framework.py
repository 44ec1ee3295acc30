"""detectron2 as one of the frameworks that train detectors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pretrain.run.membership import Member
from transfer.convert.detectron2 import check_sayable
from transfer.detection.detectron2 import recipe, resolution
from transfer.detection.framework import Framework, Training
from transfer.detection.job import Job
from transfer.installed import require_detectron2


class Detectron2(Framework):
    """LazyConfigs, detectron2's models, optimizers and evaluators."""

    name, reads, task = "detectron2", "mask_rcnn_fpn.py", "detection"
    left = ("events.out.tfevents.*", "config.yaml", "inference")

    def require(self, target: str) -> None:
        require_detectron2()

    check_sayable = staticmethod(check_sayable)
    recipe_path = staticmethod(recipe.recipe_path)
    resolve = staticmethod(recipe.resolve)
    settings_values = staticmethod(recipe.settings_values)
    summary = staticmethod(recipe.summary)

    def image_size(self, config: Any) -> int:
        return resolution.image_size(config.dataloader)

    def joined(self, member: Member) -> None:
        from detectron2.utils import comm

        comm.create_local_process_group(member.local_size)

    @contextmanager
    def session(self, job: Job, main: bool) -> Iterator[None]:
        from transfer.detection.detectron2.dataset import registered
        from transfer.detection.detectron2.log import logging_to

        with registered(job.data), logging_to(job.place / "log.txt", main):
            yield

    def training(self, job: Job, config: Any) -> Training:
        from transfer.detection.detectron2.training import Detectron2Training

        return Detectron2Training(job, config)
