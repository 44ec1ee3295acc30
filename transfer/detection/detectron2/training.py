"""One process of a detection training: detectron2's parts, put together as its tools/lazyconfig_train_net.py does."""

import contextlib
import io
import logging
import sys
from pathlib import Path

import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.engine import AMPTrainer, HookBase, SimpleTrainer, hooks
from detectron2.engine.defaults import create_ddp_model
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import CommonMetricPrinter, EventWriter, TensorboardXWriter, get_event_storage
from torch import nn

from pretrain.common.errors import NonFiniteLossError
from pretrain.run.checkpoint import understood
from transfer.detection import checkpoints
from transfer.detection.detectron2.cost import detector_cost
from transfer.detection.detectron2.loaders import evaluation_loader, training_loader
from transfer.detection.detectron2.log import ProgressBar
from transfer.detection.detectron2.predictions import draw_predictions
from transfer.detection.detectron2.resolution import image_size
from transfer.detection.detectron2.start import load_start
from transfer.detection.framework import Training
from transfer.detection.job import Job
from transfer.detection.progress import ProgressFile
from transfer.detection.stream import iteration_seed

log = logging.getLogger("detectron2.transfer")


class Detectron2Training(Training):
    """A detector of a LazyConfig. The main process draws ``predictions/*.jpg`` after an evaluation."""

    def __init__(self, job: Job, config):
        seed_all_rng(config.train.seed + comm.get_rank())
        if comm.is_main_process():
            LazyConfig.save(config, str(job.place / "config.yaml"))
        self.job, self.config = job, config
        self.model = instantiate(config.model).to(config.train.device)

    def train(self, state: dict | None) -> None:
        train(self.config, self.model, self.job, state)

    def load(self, state: dict) -> None:
        checkpoints.load_weights(self.model, state)

    def evaluate(self) -> tuple[dict, dict]:
        results = evaluate(self.config, self.model)
        if not comm.is_main_process():
            return {}, {}
        draw_predictions(self.config, self.model, self.job.place / "predictions")
        return results, detector_cost(self.model, image_size(self.config.dataloader))

    def final(self) -> dict:
        return {"model": self.model.state_dict(), "__author__": "US3L"}


def train(config, model: nn.Module, job: Job, state: dict | None) -> None:
    """Iterate to ``config.train.max_iter``, from a checkpoint's ``state`` or from the recipe's initial weights."""
    config.optimizer.params.model = model
    optimizer = instantiate(config.optimizer)
    parallel = create_ddp_model(model, **ddp_options(config))
    trainer_class = AMPTrainer if config.train.amp.enabled else SimpleTrainer
    trainer = trainer_class(parallel, [], optimizer)
    start = state["iteration"] if state else 0
    trainer.register_hooks(training_hooks(config, model, job, start))
    if state:
        checkpoints.load_weights(model, state)
        with understood("the checkpoint's trainer"):
            trainer.load_state_dict(state["trainer"])
    else:
        load_start(model, config.train.init_checkpoint, job.settings.trust)
    trainer.reset_data_loader(lambda: training_loader(config, start))
    try:
        trainer.train(start, config.train.max_iter)
    except FloatingPointError as error:
        reason = str(error).splitlines()[0].rstrip(".!")
        last = checkpoints.named(job.folder)
        raise NonFiniteLossError(
            f"{job.title}, iteration {trainer.iter}: {reason}; last good checkpoint: {last}"
        ) from None


class SeedIterations(HookBase):
    """Seed torch before each iteration, so that the anchors and regions that it draws are a function of its number."""

    def __init__(self, seed: int):
        self.seed = seed

    def before_step(self) -> None:
        torch.manual_seed(iteration_seed(self.seed, self.trainer.iter, comm.get_rank()))


class Saving(HookBase):
    """A checkpoint every ``period`` iterations and after the last one."""

    def __init__(self, model: nn.Module, folder: Path, title: str, period: int):
        self.model, self.folder, self.title, self.period = model, folder, title, period

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done % self.period == 0 or done == self.trainer.max_iter:
            state = {"model": self.model.state_dict(), "trainer": self.trainer.state_dict()}
            checkpoints.save(self.folder, done, state, self.title)


class MetricsWriter(EventWriter):
    """The newest scalars as a line of metrics.jsonl."""

    def __init__(self, file: ProgressFile):
        self.file, self.written = file, 0

    def write(self) -> None:
        storage = get_event_storage()
        # after the last iteration detectron2 counts one more
        done, values = min(storage.iter + 1, self.file.iterations), storage.latest()
        if done > self.written and "total_loss" in values:
            found = {name: value for name, (value, _) in values.items() if name != "total_loss"}
            self.file.write(done, {"loss": values["total_loss"][0], **found})
            self.written = done


def ddp_options(config) -> dict:
    """device_ids names this process's GPU, which SLURM may number 0 in every one; processes on CPUs have none."""
    on_gpu = config.train.device.startswith("cuda")
    return {**config.train.ddp, "device_ids": [torch.cuda.current_device()] if on_gpu else None}


def training_hooks(config, model: nn.Module, job: Job, start: int) -> list[HookBase]:
    settings, common = config.train, [SeedIterations(config.train.seed), hooks.IterationTimer()]
    common.append(hooks.LRScheduler(scheduler=instantiate(config.lr_multiplier)))
    evaluation = hooks.EvalHook(settings.eval_period, lambda: evaluate(config, model), eval_after_train=False)
    if not comm.is_main_process():
        return [*common, evaluation]
    writers = [
        CommonMetricPrinter(settings.max_iter),
        MetricsWriter(ProgressFile(job.folder, start, settings.max_iter)),
        TensorboardXWriter(settings.output_dir),
    ]
    return [
        *common,
        Saving(model, job.folder, job.title, settings.checkpointer.period),
        evaluation,
        hooks.PeriodicWriter(writers, settings.log_period),
        *([ProgressBar(job.title)] if sys.stdout.isatty() else []),
    ]


def evaluate(config, model: nn.Module) -> dict:
    """The evaluator's ``{"bbox": {"AP": …}, "segm": …}`` on the validation images; it prints to the log."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        evaluator = instantiate(config.dataloader.evaluator)
        results = inference_on_dataset(model, evaluation_loader(config), evaluator)
    if printed.getvalue():
        log.info("pycocotools:\n%s", printed.getvalue())
    return results
