"""What a user says about a detection training, whichever framework runs it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.common.errors import UserError
from pretrain.common.settings import PositiveInt, Seed, settings
from transfer.detection.schedule import Schedule


@settings
class DetectionSettings:
    """None leaves the recipe's value.

    target: ``coco`` (Mask R-CNN) or ``voc`` (Faster R-CNN). recipe: the framework's config file, None for its own of
    the target. data: a folder in the target's layout. image_size: shorter side in pixels. batch: images of all
    processes together. num_gpus: processes, one for each GPU. Learning rate, iterations and warm-up follow the batch
    (transfer/detection/schedule.py). overrides: ``key=value``, applied last. framework: one of
    transfer/targets.py. boxes_only: leave COCO's masks alone, which is chosen where there are none. trust:
    initial weights may run code when they are read.
    """

    target: str = "coco"
    recipe: Path | None = None
    data: Path | None = None
    iterations: PositiveInt | None = None
    image_size: PositiveInt | None = None
    batch: PositiveInt | None = None
    num_gpus: PositiveInt = 1
    device: str | None = None
    seed: Seed = 0
    resume: bool = False
    eval_only: bool = False
    overrides: tuple[str, ...] = ()
    framework: str = "detectron2"
    boxes_only: bool = False
    trust: bool = False

    def recipe_of(self, recipes: dict[str, Path], kind: str) -> Path:
        """The recipe's file: the one that was named, or of ``recipes`` the target's. kind: of file, for the message.

        Errors: UserError if there is none.
        """
        path = self.recipe or recipes[self.target]
        if not path.is_file():
            raise UserError(f"no such recipe: {path}; expected {kind} such as {recipes[self.target]}")
        return path


@dataclass(frozen=True)
class Resolved:
    """config: the framework's config of one training. schedule: what it amounts to.

    reasons: a line for each value of the schedule that says what it came from.
    """

    config: Any
    schedule: Schedule
    reasons: list[str]
