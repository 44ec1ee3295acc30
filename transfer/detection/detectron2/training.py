"""One process of a detection training: detectron2's parts, put together as its tools/lazyconfig_train_net.py does."""

import contextlib
import io
import logging
import os
import sys
from pathlib import Path

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import instantiate
from detectron2.engine import AMPTrainer, HookBase, SimpleTrainer, hooks
from detectron2.engine.defaults import create_ddp_model
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import CommonMetricPrinter, JSONWriter, TensorboardXWriter
from torch import nn

from pretrain.common.errors import NonFiniteLossError, UserError
from pretrain.common.files import cut_lines
from transfer.detection.detectron2.cost import detector_cost
from transfer.detection.detectron2.loaders import evaluation_loader, training_loader
from transfer.detection.detectron2.predictions import draw_predictions
from transfer.detection.detectron2.progress import ProgressBar
from transfer.detection.detectron2.resolution import image_size
from transfer.detection.stream import iteration_seed

log = logging.getLogger("detectron2.transfer")
# what a training leaves in its folder
LEFT = (
    "metrics.json", "log.txt", "events.out.tfevents.*", "last_checkpoint", "model_*.pth", "predictions", "config.yaml",
)  # fmt: skip


def train_and_evaluate(config, title: str, resume: bool, eval_only: bool) -> tuple[dict, dict]:
    """Train as ``config`` says unless ``eval_only``, then evaluate: the evaluator's results and the detector's cost.

    The main process draws ``predictions/*.jpg`` in the output folder. Every process calls it; the results are the main
    process's, elsewhere empty. Errors: NonFiniteLossError.
    """
    seed_all_rng(config.train.seed + comm.get_rank())
    model = instantiate(config.model).to(config.train.device)
    checkpointer = DetectionCheckpointer(model, config.train.output_dir)
    if eval_only:
        checkpointer.resume_or_load(trained_weights(config, checkpointer), resume=False)
    else:
        train(config, model, title, resume)
    results = evaluate(config, model)
    if not comm.is_main_process():
        return {}, {}
    draw_predictions(config, model, Path(config.train.output_dir) / "predictions")
    return results, detector_cost(model, image_size(config.dataloader))


def trained_weights(config, checkpointer: DetectionCheckpointer) -> str:
    """The checkpoint that ``--eval-only`` reads: the run's last one."""
    if not checkpointer.has_checkpoint():
        raise UserError(
            f"--eval-only, but {config.train.output_dir} holds no checkpoint; train first, without --eval-only"
        )
    return checkpointer.get_checkpoint_file()


def train(config, model: nn.Module, title: str, resume: bool) -> None:
    """Iterate to ``config.train.max_iter``, from the last checkpoint of the output folder if ``resume``."""
    config.optimizer.params.model = model
    optimizer = instantiate(config.optimizer)
    parallel = create_ddp_model(model, **ddp_options(config))
    trainer_class = AMPTrainer if config.train.amp.enabled else SimpleTrainer
    trainer = trainer_class(parallel, [], optimizer)
    checkpointer = DetectionCheckpointer(model, config.train.output_dir, trainer=trainer)
    trainer.register_hooks(training_hooks(config, model, checkpointer, title))
    checkpointer.resume_or_load(config.train.init_checkpoint, resume=resume)
    start = trainer.iter + 1 if resume and checkpointer.has_checkpoint() else 0
    if resume and comm.is_main_process():
        cut_metrics(Path(config.train.output_dir) / "metrics.json", start)
    trainer.reset_data_loader(lambda: training_loader(config, start))
    try:
        trainer.train(start, config.train.max_iter)
    except FloatingPointError as error:
        last = checkpointer.get_checkpoint_file() or "none"
        reason = str(error).splitlines()[0].rstrip(".!")
        raise NonFiniteLossError(f"{title}, iteration {trainer.iter}: {reason}; last good checkpoint: {last}") from None


class SeedIterations(HookBase):
    """Seed torch before each iteration, so that the anchors and regions that it draws are a function of its number."""

    def __init__(self, seed: int):
        self.seed = seed

    def before_step(self) -> None:
        torch.manual_seed(iteration_seed(self.seed, self.trainer.iter, comm.get_rank()))


def cut_metrics(path: Path, iteration: int) -> None:
    """Remove what an interrupted training wrote of iterations that are now trained again."""
    cut_lines(path, lambda line: line.get("iteration", 0) < iteration)


def ddp_options(config) -> dict:
    """device_ids names this process's GPU, which SLURM may number 0 in every one; processes on CPUs have none."""
    on_gpu = config.train.device.startswith("cuda")
    return {**config.train.ddp, "device_ids": [torch.cuda.current_device()] if on_gpu else None}


def training_hooks(config, model: nn.Module, checkpointer: DetectionCheckpointer, title: str) -> list[HookBase]:
    settings, common = config.train, [SeedIterations(config.train.seed), hooks.IterationTimer()]
    common.append(hooks.LRScheduler(scheduler=instantiate(config.lr_multiplier)))
    evaluation = hooks.EvalHook(settings.eval_period, lambda: evaluate(config, model), eval_after_train=False)
    if not comm.is_main_process():
        return [*common, evaluation]
    writers = [
        CommonMetricPrinter(settings.max_iter),
        JSONWriter(os.path.join(settings.output_dir, "metrics.json")),
        TensorboardXWriter(settings.output_dir),
    ]
    saving, bar = settings.checkpointer, [ProgressBar(title)] if sys.stdout.isatty() else []
    return [
        *common,
        hooks.PeriodicCheckpointer(checkpointer, saving.period, settings.max_iter, saving.max_to_keep),
        evaluation,
        hooks.PeriodicWriter(writers, settings.log_period),
        *bar,
    ]  # fmt: skip


def evaluate(config, model: nn.Module) -> dict:
    """The evaluator's ``{"bbox": {"AP": …}, "segm": …}`` on the validation images; it prints to the log."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        evaluator = instantiate(config.dataloader.evaluator)
        results = inference_on_dataset(model, evaluation_loader(config), evaluator)
    if printed.getvalue():
        log.info("pycocotools:\n%s", printed.getvalue())
    return results
