"""What a detection training does beside mmdet's own iterations."""

import math
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from pretrain.common.errors import NonFiniteLossError
from transfer.detection import checkpoints
from transfer.detection.progress import ProgressFile
from transfer.detection.stream import iteration_seed


@HOOKS.register_module()
class SeedIterations(Hook):
    """Seed torch before each iteration, so that the anchors and regions that it draws are a function of its number."""

    def __init__(self, seed: int):
        self.seed = seed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        torch.manual_seed(iteration_seed(self.seed, runner.iter, get_rank()))


@HOOKS.register_module()
class StopAtNonFiniteLoss(Hook):
    """NonFiniteLossError at the first iteration whose loss is no number, before a checkpoint is written."""

    priority = "VERY_HIGH"

    def __init__(self, folder: Path, title: str):
        self.folder, self.title = folder, title

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        loss = float(outputs["loss"].detach())
        if not math.isfinite(loss):
            last = checkpoints.named(self.folder)
            raise NonFiniteLossError(
                f"{self.title}, iteration {runner.iter}: the loss is {loss}; last good checkpoint: {last}"
            )


@HOOKS.register_module()
class WriteProgress(Hook):
    """A line of metrics.jsonl every ``interval`` iterations and after the last one."""

    def __init__(self, folder: Path, interval: int):
        self.folder, self.interval = folder, interval
        self.file: ProgressFile | None = None

    def before_train(self, runner: Runner) -> None:
        if get_rank() == 0:
            self.file = ProgressFile(self.folder, runner.iter, runner.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        done = runner.iter + 1
        if self.file and (done % self.interval == 0 or done == runner.max_iters):
            values = {name: float(value.detach()) for name, value in outputs.items() if value.numel() == 1}
            self.file.write(done, {**values, "lr": runner.optim_wrapper.get_lr()["lr"][0]})


@HOOKS.register_module()
class Saving(Hook):
    """A checkpoint every ``interval`` iterations and after the last one."""

    priority = "VERY_LOW"

    def __init__(self, folder: Path, title: str, interval: int):
        self.folder, self.title, self.interval = folder, title, interval

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        done = runner.iter + 1
        if get_rank() == 0 and (done % self.interval == 0 or done == runner.max_iters):
            state = {"model": runner.detector.state_dict(), "optimizer": runner.optim_wrapper.state_dict()}
            checkpoints.save(self.folder, done, state, self.title)
