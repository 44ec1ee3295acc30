"""mmengine's Runner as a detection training needs it: on any device, exact on resume, loud about what went wrong."""

import logging
import warnings
from pathlib import Path

import torch
from mmengine.dist import get_world_size
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, convert_sync_batchnorm, is_model_wrapper
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from pretrain.common.errors import UserError
from pretrain.run.checkpoint import understood
from transfer.detection import checkpoints


class DetectionRunner(Runner):
    """``config.device``: ``cpu`` or ``cuda``, where mmengine would take a GPU whenever there is one.

    backbone_weights: a file whose ``state_dict`` the backbone has to load completely. state: of the checkpoint that the
    training goes on from.
    """

    def __init__(self, backbone_weights: Path, state: dict | None, **options):
        self.backbone_weights, self.state = backbone_weights, state
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
        with understood("the recipe's init_cfg"):  # of a file that is not there, or holds more than tensors
            super()._init_model_weights()
        state = torch.load(self.backbone_weights, map_location="cpu", weights_only=True)["state_dict"]
        try:
            self.detector.backbone.load_state_dict(state, strict=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"the recipe's backbone is not the one that was converted: {reason}") from None

    def load_or_resume(self) -> None:
        """Go on from the state that was given. The learning rate follows this training's schedule, not the interrupted
        one's, which may have been of another length."""
        if self.state is None:
            return
        checkpoints.load_weights(self.detector, self.state)
        rates = [group["initial_lr"] for group in self.optim_wrapper.param_groups]
        with understood("the checkpoint's optimizer"):
            self.optim_wrapper.load_state_dict(self.state["optimizer"])
        for group, rate in zip(self.optim_wrapper.param_groups, rates, strict=True):
            group["lr"] = group["initial_lr"] = rate
        self.train_loop._iter = self.state["iteration"]
        self.param_schedulers = self.build_param_scheduler(self.cfg.param_scheduler)
        with warnings.catch_warnings():  # torch wants a step of the optimizer before each
            warnings.simplefilter("ignore")
            for _ in range(self.iter):
                for scheduler in self.param_schedulers:
                    scheduler.step()
        self.logger.info(f"resumed after iteration {self.iter}")

    def load_trained(self, state: dict) -> None:
        """Take a checkpoint's weights for an evaluation."""
        checkpoints.load_weights(self.detector, state)


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
