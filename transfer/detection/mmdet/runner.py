"""mmengine's Runner as a detection training needs it: on any device, exact on resume, loud about what went wrong."""

import builtins
import functools
import logging
import math
import warnings
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.model import MMDistributedDataParallel, convert_sync_batchnorm, is_model_wrapper
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import HOOKS, LOOPS
from mmengine.runner import IterBasedTrainLoop, Runner, find_latest_checkpoint
from torch import nn

from pretrain.common.errors import NonFiniteLossError, UserError
from transfer.detection.stream import iteration_seed


class DetectionRunner(Runner):
    """``config.device``: ``cpu`` or ``cuda``, where mmengine would take a GPU whenever there is one.

    backbone_weights: a file whose ``state_dict`` the backbone has to load completely. On resume the learning rate
    follows this training's schedule, not the interrupted one's, which may have been of another length.
    """

    def __init__(self, backbone_weights: Path, **options):
        self.backbone_weights = backbone_weights
        super().__init__(**options)

    @property
    def detector(self) -> nn.Module:
        """The model without its wrapper for several processes."""
        return self.model.module if is_model_wrapper(self.model) else self.model

    def setup_env(self, env_cfg: dict) -> None:
        with warnings.catch_warnings():  # it speaks of numbers of threads and of how processes start
            warnings.simplefilter("ignore")
            super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        on_gpu = self.cfg.device == "cuda"
        model = model.to(torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu"))
        if get_world_size() == 1:
            return revert_sync_batchnorm(model)
        if on_gpu and self.cfg.get("sync_bn"):
            model = convert_sync_batchnorm(model, self.cfg.sync_bn)
        devices = [torch.cuda.current_device()] if on_gpu else None
        return MMDistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **options) -> MMLogger:
        """Everything goes to ``log.txt``, to the terminal only losses, results and errors."""
        logger = super().build_logger(log_level, str(Path(self.work_dir) / "log.txt"), **options)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(lambda record: record.levelno >= logging.ERROR or record.module == "logger_hook")
        return logger

    def _init_model_weights(self) -> None:
        super()._init_model_weights()
        state = torch.load(self.backbone_weights, map_location="cpu", weights_only=True)["state_dict"]
        try:
            self.detector.backbone.load_state_dict(state, strict=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"the recipe's backbone is not the one that was converted: {reason}") from None

    def resume(self, filename: str, *positional, **options) -> None:
        rates = [group["initial_lr"] for group in self.optim_wrapper.param_groups]
        with torch.serialization.safe_globals(pickled_classes()):
            super().resume(filename, resume_param_scheduler=False, map_location="cpu")
        for group, rate in zip(self.optim_wrapper.param_groups, rates, strict=True):
            group["lr"] = group["initial_lr"] = rate
        self.param_schedulers = self.build_param_scheduler(self.cfg.param_scheduler)
        with warnings.catch_warnings():  # torch wants a step of the optimizer before each
            warnings.simplefilter("ignore")
            for _ in range(self.iter):
                for scheduler in self.param_schedulers:
                    scheduler.step()

    def load_trained(self) -> None:
        """Load the output folder's last checkpoint for an evaluation. UserError if there is none."""
        path = last_checkpoint(self.work_dir)
        if path is None:
            raise UserError(f"--eval-only, but {self.work_dir} holds no checkpoint; train first, without --eval-only")
        with torch.serialization.safe_globals(pickled_classes()):
            self.load_checkpoint(path, map_location="cpu", strict=True)


def pickled_classes() -> list:
    """What mmengine's checkpoints hold beside tensors: its logged scalars."""
    dtypes = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.uint8, bool)]
    return [
        HistoryBuffer, np._core.multiarray._reconstruct, np._core.multiarray.scalar, np.ndarray, np.dtype, *dtypes,
        builtins.getattr, functools.partial,
    ]  # fmt: skip


def last_checkpoint(folder: str | Path) -> str | None:
    """The checkpoint that a training in ``folder`` saved last, None without one."""
    if not (Path(folder) / "last_checkpoint").is_file():
        return None
    return find_latest_checkpoint(str(folder))


@LOOPS.register_module()
class StreamTrainLoop(IterBasedTrainLoop):
    """IterBasedTrainLoop over a BatchStream: a resumed training begins its stream where it stopped.

    mmengine's own loop reads all images before that place once more. It ends without an evaluation, which follows.
    """

    def run(self) -> nn.Module:
        runner = self.runner
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")
        self.dataloader.batch_sampler.start = self._iter
        self.dataloader_iterator = iter(self.dataloader)
        while self._iter < self._max_iters and not self.stop_training:
            runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            if runner.val_loop is not None and self._iter % self.val_interval == 0 and self._iter < self._max_iters:
                runner.val_loop.run()
        runner.call_hook("after_train_epoch")
        runner.call_hook("after_train")
        return runner.model


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

    def __init__(self, title: str):
        self.title = title

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        loss = float(outputs["loss"].detach())
        if not math.isfinite(loss):
            last = last_checkpoint(runner.work_dir) or "none"
            raise NonFiniteLossError(
                f"{self.title}, iteration {runner.iter}: the loss is {loss}; last good checkpoint: {last}"
            )
