"""From a recipe, a converted backbone, a data set and the command line's settings to the config of one training."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from pretrain.common.errors import UserError
from pretrain.common.overrides import parse
from transfer.detection.data import Data
from transfer.detection.data.coco import CocoData
from transfer.detection.mmdet.overrides import apply_overrides
from transfer.detection.mmdet.resolution import image_size, scale_to
from transfer.detection.schedule import Schedule, explain, scale
from transfer.detection.settings import DetectionSettings, Resolved
from transfer.recipes import RECIPES, read_once

OWN = RECIPES["mmdet"]
# where a recipe keeps what its schedule is made of
FIELDS = {
    "batch": "train_dataloader.batch_size", "learning_rate": "optim_wrapper.optimizer.lr",
    "iterations": "train_cfg.max_iters", "warmup": "param_scheduler.0.end",
}  # fmt: skip
# what the converted weights decide
OF_THE_WEIGHTS = {
    "type", "depth", "stem_channels", "base_channels", "inner_channels", "stage_channels", "num_stages", "style",
    "init_cfg",
}  # fmt: skip
# what a backbone that lists its channels takes beside them, and the value that stands for nothing said
LISTED = {"out_indices": (0, 1, 2, 3), "frozen_stages": -1, "norm_cfg": None, "norm_eval": False}
# no part of a result: paths, and what a machine chooses
MACHINE = (
    "work_dir", "data_root", "ann_file", "data_prefix", "checkpoint", "num_workers", "persistent_workers", "device",
    "custom_imports", "experiment_name", "visualizer", "vis_backends", "env_cfg", "test_dataloader", "test_evaluator",
)  # fmt: skip


def recipe_path(settings: DetectionSettings) -> Path:
    """The recipe's file. UserError if there is none."""
    return settings.recipe_of(OWN, "an mmdet config")


def resolve(settings: DetectionSettings, backbone: Path, data: Data, output: Path) -> Resolved:
    """The config of one training.

    backbone: a config that the converter wrote. Errors: UserError for values or overrides that don't fit.
    """
    config, narrow = read(recipe_path(settings)), read(backbone)
    check_target(config, settings)
    model = config.model
    if not data.has_masks and model.roi_head.get("mask_head"):
        without_masks(config)
    model.backbone = with_channels(model.backbone, narrow.model.backbone, recipe_path(settings).name)
    model.neck.in_channels = narrow.model.neck.in_channels
    model.data_preprocessor.update(mean=narrow.model.data_preprocessor.mean, std=narrow.model.data_preprocessor.std)
    model.roi_head.bbox_head.num_classes = len(data.classes)
    if data.has_masks:
        model.roi_head.mask_head.num_classes = len(data.classes)
    modules = [name for part in (config, narrow) for name in (part.get("custom_imports") or {}).get("imports", [])]
    config.custom_imports = {"imports": modules} if modules else None
    config.work_dir, config.device = str(output), settings.device
    config.randomness = {"seed": settings.seed}
    set_data(config, data)
    if settings.image_size is not None:
        scale_to(config, settings.image_size)
    recipe = read_schedule(config, max(1, config.auto_scale_lr.base_batch_size // config.train_dataloader.batch_size))
    apply_schedule(config, recipe, scale(recipe, settings.num_gpus, settings.batch, settings.iterations))
    apply_overrides(config, settings.overrides)
    if config.get("load_from") or config.get("resume"):  # of mmengine's runner, which has a backbone and a state
        raise UserError("the recipe sets load_from or resume, which nothing reads here; expected --weights or --resume")
    used = read_schedule(config, settings.num_gpus)
    keys = [parse(override)[0] for override in settings.overrides]
    return Resolved(config, used, explain(recipe, used, tuple(name for name, key in FIELDS.items() if key in keys)))


def read(path: Path):
    """An mmengine config. UserError for a file that is none."""
    try:
        return read_file(path)
    except Exception as error:  # a config is a program
        reason = " ".join(str(error).split())[:160] or f"mmengine gives up with a {type(error).__name__}"
        raise UserError(f"{path} is no mmdet config: {reason}; expected one such as {OWN['coco']}") from None


@read_once
def read_file(path: Path):
    """As the framework reads it, with the framework's own errors."""
    from mmengine.config import Config

    return Config.fromfile(path)


def check_target(config, settings: DetectionSettings) -> None:
    """UserError for a recipe of the other target, or one that no feature pyramid is in."""
    model, name = config.get("model", {}), recipe_path(settings).name
    if not all(part in model for part in ("backbone", "neck", "rpn_head", "roi_head")) or "auto_scale_lr" not in config:
        raise UserError(f"{name} is no recipe for Faster or Mask R-CNN with a pyramid; expected one such as "
                        f"{OWN[settings.target].name}")  # fmt: skip
    target = "coco" if model.roi_head.get("mask_head") else "voc"
    if target != settings.target:
        raise UserError(f"{name} is a recipe for {target}; expected one for {settings.target} such as "
                        f"{OWN[settings.target].name}")  # fmt: skip


def with_channels(own: dict, narrow: dict, recipe: str) -> dict:
    """The backbone ``narrow``, frozen and normalised as the recipe's ``own``.

    Errors: UserError for a recipe of another kind of backbone, and for an option of mmdet's ResNet that a list of
    channels cannot have.
    """
    if own.get("type") != "ResNet":
        raise UserError(
            f"the backbone of {recipe} is no ResNet, which a converted one could replace; expected one such as "
            f"{OWN['coco'].name}"
        )
    listed = narrow["type"] != own["type"]
    for name in sorted(own.keys() - OF_THE_WEIGHTS):
        if own[name] == narrow.get(name, LISTED.get(name)):
            continue
        if listed and name not in LISTED:
            raise UserError(f"the backbone of {recipe} has {name}={own[name]}, which mmdet's ResNet takes alone; "
                            "expected a width that it can say, such as 0.5")  # fmt: skip
        narrow[name] = own[name]
    return narrow


def set_data(config, data: Data) -> None:
    """Name the data set's files."""
    if isinstance(data, CocoData):
        for loader, split in ((config.train_dataloader, data.train), (config.val_dataloader, data.val)):
            split = split or data.val  # an evaluation needs no training images
            loader.dataset.update(
                data_root=None, ann_file=str(split.annotations.resolve()), metainfo={"classes": data.classes},
                data_prefix={"img": str(split.images.resolve())},
            )  # fmt: skip
        return
    training = config.train_dataloader.dataset
    while "dataset" in training:  # repeated, which an endless stream of images need not be
        training = training.dataset
    config.train_dataloader.dataset = checked_voc(training.datasets[0], data.classes)
    config.val_dataloader.dataset = checked_voc(config.val_dataloader.dataset, data.classes)


def checked_voc(recipe, classes: tuple[str, ...]) -> dict:
    """``CheckedVoc`` with the pipeline and the filter of ``recipe``; its loader gives it the objects."""
    return {**recipe, "type": "CheckedVoc", "data_root": None, "ann_file": "", "data_prefix": {},
            "metainfo": {"classes": classes}}  # fmt: skip


def without_masks(config) -> None:
    """Mask R-CNN becomes Faster R-CNN, and nothing asks for masks, in training or in evaluation."""
    config.model.type = "FasterRCNN"
    config.model.roi_head.update(mask_roi_extractor=None, mask_head=None)
    for loader in (config.train_dataloader, config.val_dataloader):
        for step in loader.dataset.pipeline:
            if step["type"] == "LoadAnnotations":
                step["with_mask"] = False


def read_schedule(config, processes: int) -> Schedule:
    """What a config's loader, optimizer and schedules say. processes: each of which takes ``batch_size`` images."""
    warmups = [step.end for step in config.param_scheduler if step.type == "LinearLR"]
    return Schedule(
        config.train_dataloader.batch_size * processes, config.optim_wrapper.optimizer.lr, config.train_cfg.max_iters,
        warmups[0] if warmups else 0, processes,
    )  # fmt: skip


def apply_schedule(config, recipe: Schedule, used: Schedule) -> None:
    """Write ``used`` into the config; periods between checkpoints and evaluations keep their number of images."""
    longer, ratio = Fraction(used.iterations, recipe.iterations), Fraction(recipe.batch, used.batch)
    config.train_dataloader.batch_size = used.batch // used.processes
    config.optim_wrapper.optimizer.lr, config.train_cfg.max_iters = used.learning_rate, used.iterations
    config.train_cfg.val_interval = max(1, round(config.train_cfg.val_interval * ratio))
    saving = config.default_hooks.checkpoint
    saving.interval = max(1, round(saving.interval * ratio))
    for step in config.param_scheduler:
        if step.type == "LinearLR":
            step.end = used.warmup
            continue
        for key in ("end", "T_max"):
            if key in step:
                step[key] = round(step[key] * longer)
        if "milestones" in step:
            step.milestones = [round(milestone * longer) for milestone in step.milestones]
    # mmengine's LinearLR never leaves its first factor if it ends at once
    config.param_scheduler = [s for s in config.param_scheduler if s.type != "LinearLR" or s.end > 1]


def settings_values(config) -> dict:
    """The config as JSON values, without what a machine chooses: paths, the device and numbers of workers."""

    def simple(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): simple(item) for key, item in value.items() if key not in MACHINE}
        if isinstance(value, list | tuple):
            return [simple(item) for item in value]
        return value

    return json.loads(json.dumps(simple(config.to_dict()), default=str))


def summary(resolved: Resolved, data: Data) -> str:
    """The settings that decide about time and accuracy, in a few lines."""
    config = resolved.config
    model, train, test = config.model, config.model.train_cfg, config.model.test_cfg
    anchors = [scale * stride for stride in model.rpn_head.anchor_generator.strides
               for scale in model.rpn_head.anchor_generator.scales]  # fmt: skip
    train_images = f"{data.train_count} training and " if data.train_count else ""
    synchronised = config.get("sync_bn") and resolved.schedule.processes > 1 and config.device == "cuda"
    lines = {
        "data": f"{data.folder}: {train_images}{data.val_count} validation images, {len(data.classes)} classes"
        f"{data.note}",
        "images": f"shorter side {image_size(config)} px",
        "anchors": f"{', '.join(f'{side:g}' for side in anchors)} px",
        "proposals": f"{train.rpn_proposal.nms_pre} a level, {train.rpn_proposal.max_per_img} an image after "
        f"suppression (evaluation: {test.rpn.nms_pre}, {test.rpn.max_per_img}); {train.rcnn.sampler.num} an image "
        "train the heads",
        "norm": f"{'SyncBN' if synchronised else 'BN'}, on {config.device}",
    }
    return "\n".join([*(f"{name:12}{text}" for name, text in lines.items()), *resolved.reasons])
