"""One process of a detection training: detectron2's parts, put together as its tools/lazyconfig_train_net.py does."""

import contextlib
import io
import itertools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import instantiate
from detectron2.data.samplers import TrainingSampler
from detectron2.engine import AMPTrainer, HookBase, SimpleTrainer, hooks
from detectron2.engine.defaults import create_ddp_model
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import CommonMetricPrinter, JSONWriter, TensorboardXWriter
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pretrain.errors import NonFiniteLossError, UserError
from pretrain.plain.cost import Cost
from transfer.detection.progress import ProgressBar

log = logging.getLogger("detectron2.transfer")


class ContinuingSampler(TrainingSampler):
    """detectron2's endless shuffled stream from image number ``start`` on: a resumed training goes on where it stopped.

    start: images that all processes together have taken. Where images are grouped by aspect ratio the place is
    approximate, because some were drawn that wait for their group.
    """

    def __init__(self, size: int, seed: int, start: int):
        super().__init__(size, seed=seed)
        self.start = start

    def __iter__(self) -> Iterator[int]:
        yield from itertools.islice(self._infinite_indices(), self.start + self._rank, None, self._world_size)


def train_and_evaluate(config, title: str, resume: bool, eval_only: bool) -> tuple[dict, Cost]:
    """Train as ``config`` says unless ``eval_only``, then evaluate: COCOEvaluator's results and the detector's cost.

    Every process calls it; the results are the main process's, elsewhere empty. Errors: NonFiniteLossError.
    """
    seed_all_rng(config.train.seed + comm.get_rank())
    model = instantiate(config.model).to(config.train.device)
    checkpointer = DetectionCheckpointer(model, config.train.output_dir)
    if eval_only:
        checkpointer.resume_or_load(trained_weights(config, checkpointer), resume=False)
    else:
        train(config, model, title, resume)
    results = evaluate(config, model)
    return results, detector_cost(config, model) if comm.is_main_process() else Cost(0, 0)


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
    trainer.reset_data_loader(lambda: training_loader(config, start))
    try:
        trainer.train(start, config.train.max_iter)
    except FloatingPointError as error:
        last = checkpointer.get_checkpoint_file() or "none"
        reason = str(error).splitlines()[0].rstrip(".!")
        raise NonFiniteLossError(f"{title}, iteration {trainer.iter}: {reason}; last good checkpoint: {last}") from None


def ddp_options(config) -> dict:
    """device_ids names GPUs: processes on CPUs have none."""
    options = dict(config.train.ddp)
    return options if config.train.device.startswith("cuda") else {**options, "device_ids": None}


def training_loader(config, start_iteration: int):
    """The recipe's loader, continued at ``start_iteration`` of the stream that ``config.train.seed`` shuffles."""
    recipe = config.dataloader.train
    images = instantiate(recipe.dataset)
    sampler = ContinuingSampler(len(images), config.train.seed, start_iteration * recipe.total_batch_size)
    return instantiate({**{key: recipe[key] for key in recipe}, "dataset": images, "sampler": sampler})


def training_hooks(config, model: nn.Module, checkpointer: DetectionCheckpointer, title: str) -> list[HookBase]:
    settings, common = config.train, [hooks.IterationTimer()]
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
    """COCOEvaluator's ``{"bbox": {"AP": …}, "segm": …}`` on the validation images; it prints to the log."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        evaluator = instantiate(config.dataloader.evaluator)
        results = inference_on_dataset(model, instantiate(config.dataloader.test), evaluator)
    if printed.getvalue():
        log.info("pycocotools:\n%s", printed.getvalue())
    return results


def detector_cost(config, model: nn.Module) -> Cost:
    """Parameters of the whole detector and its multiply-accumulates on the first validation image.

    Convolutions and linear layers, as for the backbone. The heads' share depends on what the detector finds.
    """
    inputs = next(iter(instantiate(config.dataloader.test)))[:1]
    training = model.training
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(inputs)
    model.train(training)
    return Cost(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)


def clear(folder: Path) -> None:
    """Remove what an earlier training left in ``folder``: detectron2 would append to its metrics."""
    for pattern in (
        "metrics.json",
        "log.txt",
        "events.out.tfevents.*",
        "last_checkpoint",
        "model_*.pth",
        "result.json",
    ):
        for path in folder.glob(pattern):
            path.unlink()
