"""One process of a detection training with mmdet: the parts of a resolved config, run by mmengine's Runner."""

import uuid
from pathlib import Path

import torch.distributed as dist
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from pretrain.common.errors import UserError
from transfer.detection.data.coco import CocoData
from transfer.detection.data.voc import VocData
from transfer.detection.mmdet.cost import detector_cost
from transfer.detection.mmdet.evaluation import CommonEvaluation
from transfer.detection.mmdet.loaders import evaluation_loader, training_loader
from transfer.detection.mmdet.resolution import image_size
from transfer.detection.mmdet.runner import DetectionRunner, SeedIterations, StopAtNonFiniteLoss, StreamTrainLoop

# what a training leaves in its folder: the last are mmengine's, named by the time
LEFT = ("iter_*.pth", "last_checkpoint", "log.txt", "*.py", "20??????_??????")


def train_and_evaluate(
    config, data: CocoData | VocData, backbone_weights: Path, title: str, resume: bool, eval_only: bool
) -> tuple[dict, dict]:
    """Train as ``config`` says unless ``eval_only``, then evaluate: average precisions and the detector's cost.

    Every process calls it; the results are the main process's, elsewhere empty. Errors: UserError, NonFiniteLossError.
    """
    images = evaluation_loader(config)
    metric = CommonEvaluation(data, categories(images.dataset.images, data))
    runner = build_runner(config, images, metric, backbone_weights, title, resume, eval_only)
    with DefaultScope.overwrite_default_scope("mmdet"):
        if eval_only:
            runner.load_trained()
        else:
            runner.train()
        runner.val()
    return metric.found, detector_cost(runner.detector, image_size(config))


def build_runner(
    config,
    images: DataLoader,
    metric: CommonEvaluation,
    backbone_weights: Path,
    title: str,
    resume: bool,
    eval_only: bool,
) -> DetectionRunner:
    """The Runner of ``config``, with ``images`` to evaluate on.

    Its name is new each time: mmengine keeps the log and the scalars of a name for as long as the process lives.
    """
    name = f"{title} {uuid.uuid4().hex[:8]}".replace(" ", "_")
    hooks = {**config.default_hooks, "sampler_seed": None}  # the stream has its own seed
    scheduler = None if eval_only else config.param_scheduler
    with DefaultScope.overwrite_default_scope("mmdet"):
        loaders = {"val_dataloader": images, "val_cfg": config.val_cfg, "val_evaluator": Evaluator([metric])}
        if not eval_only:
            loop = {**config.train_cfg, "type": StreamTrainLoop}
            loaders.update(train_dataloader=training_loader(config), train_cfg=loop, optim_wrapper=config.optim_wrapper)
        return DetectionRunner(
            backbone_weights, model=config.model, work_dir=config.work_dir, **loaders, param_scheduler=scheduler,
            default_hooks=hooks, custom_hooks=[SeedIterations(config.randomness.seed), StopAtNonFiniteLoss(title)],
            resume=resume and not eval_only, launcher="pytorch" if dist.is_initialized() else "none",
            env_cfg={**config.env_cfg, "cudnn_benchmark": False}, log_processor=config.log_processor,
            visualizer={**config.visualizer, "name": name}, default_scope="mmdet", randomness=config.randomness,
            experiment_name=name, cfg=config,
        )  # fmt: skip


def categories(images, data: CocoData | VocData) -> list:
    """What the detector's labels 0, 1, ... are in the data set's files. UserError for one that mmdet did not find."""
    found = list(images.cat_ids) if isinstance(data, CocoData) else list(data.classes)
    if len(found) != len(data.classes):
        raise UserError(f"mmdet finds {len(found)} of {len(data.classes)} classes; expected a name of its own for each")
    return found
