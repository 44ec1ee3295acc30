"""What a program that trains detectors has to offer: a folder beside this file, and a line in ``FRAMEWORKS``.

A folder holds the same files for the same roles: ``framework.py`` (the class below), ``recipe.py``, ``overrides.py``,
``resolution.py``, ``dataset.py``, ``loaders.py``, ``training.py``, ``cost.py``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from pretrain.common.errors import UserError, nearest
from transfer.detection.settings import DetectionSettings, Resolved
from transfer.targets import FRAMEWORKS

if TYPE_CHECKING:
    from pretrain.run.membership import Member
    from transfer.detection.data import Data
    from transfer.detection.job import Job


class Training(ABC):
    """A detector in one of the processes that train or evaluate it together; each of them calls each method."""

    @abstractmethod
    def train(self, state: dict | None) -> None:
        """Iterate to the end of the schedule, from ``state`` (what ``checkpoints.load`` gives) or from the backbone.

        Saves by ``checkpoints.save``, writes progress by ``ProgressFile``. Errors: UserError, NonFiniteLossError.
        """

    @abstractmethod
    def load(self, state: dict) -> None:
        """Take the whole detector's weights from a checkpoint's state. UserError where they do not fit."""

    @abstractmethod
    def evaluate(self) -> tuple[dict, dict]:
        """``{"bbox": {"AP", "AP50", ..., "AP-<class>"}, "segm": ...}`` in percent, and the detector's cost, of the main
        process; of others anything."""

    @abstractmethod
    def final(self) -> dict:
        """What the framework's own programs load as a trained detector: tensors and simple values."""


class Framework(ABC):
    """One framework. name: in ``FRAMEWORKS``, and of the format that it reads. reads: the file of that format which
    ``resolve`` gets. task: its folder of results. left: patterns of what it leaves in one."""

    name: str
    reads: str
    task: str
    left: tuple[str, ...]

    @abstractmethod
    def require(self, target: str) -> None:
        """UserError if a package is absent that a training for ``target`` needs."""

    @abstractmethod
    def check_sayable(self, plain: nn.Module) -> None:
        """UserError for a backbone that the framework cannot build."""

    @abstractmethod
    def recipe_path(self, settings: DetectionSettings) -> Path:
        """The recipe's file. UserError if there is none."""

    @abstractmethod
    def resolve(self, settings: DetectionSettings, backbone: Path, data: "Data", folder: Path) -> Resolved:
        """The config of one training. backbone: what it ``reads``. Errors: UserError for what does not fit."""

    @abstractmethod
    def settings_values(self, config: Any) -> dict:
        """A config as JSON values, without what a machine chooses."""

    @abstractmethod
    def summary(self, resolved: Resolved, data: "Data") -> str:
        """The settings that decide about time and accuracy, in a few lines."""

    @abstractmethod
    def image_size(self, config: Any) -> int:
        """The shorter side of the evaluated images, in pixels."""

    def joined(self, member: "Member") -> None:  # noqa: B027  (most need nothing)
        """Called once in each process when the group of all is there."""

    @contextmanager
    def session(self, job: "Job", main: bool) -> Iterator[None]:
        """Whatever the framework needs around everything else: its log, its knowledge of the data."""
        yield

    @abstractmethod
    def training(self, job: "Job", config: Any) -> Training:
        """The detector of a config."""


def find_framework(name: str) -> Framework:
    """The framework of this name; nothing of it is imported yet. UserError for an unknown one."""
    if name not in FRAMEWORKS:
        raise UserError(f"unknown framework '{name}'{nearest(name, FRAMEWORKS)}")
    module, _, kind = FRAMEWORKS[name].rpartition(".")
    return getattr(import_module(module), kind)()
