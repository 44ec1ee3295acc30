"""detectron2 as one of the frameworks that train detectors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from pretrain.run.membership import Member
from transfer.convert.detectron2 import check_sayable
from transfer.detection.data import Data
from transfer.detection.detectron2 import recipe, resolution
from transfer.detection.framework import Framework, Training
from transfer.detection.job import Job
from transfer.detection.settings import DetectionSettings, Resolved
from transfer.installed import require_detectron2


class Detectron2(Framework):
    """LazyConfigs, detectron2's models, optimizers and evaluators."""

    name, task = "detectron2", "detection"
    left = ("events.out.tfevents.*", "config.yaml", "inference")

    def require(self, target: str) -> None:
        require_detectron2()

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
