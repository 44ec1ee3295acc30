"""From a recipe, a converted backbone, a data set and the command line's settings to the config of one training."""

import json
from fractions import Fraction
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.overrides import parse
from transfer.detection.data import Data
from transfer.detection.detectron2.overrides import apply_overrides
from transfer.detection.detectron2.resolution import image_size, scale_to
from transfer.detection.schedule import Schedule, explain, scale
from transfer.detection.settings import DetectionSettings, Resolved
from transfer.recipes import FOLDERS, RECIPES, read_once

MACHINE = ("output_dir", "init_checkpoint", "device", "names", "dataset_name", "num_workers")  # no part of a result
FOLDER, OWN = FOLDERS["detectron2"], RECIPES["detectron2"]
# where a recipe keeps what its schedule is made of
FIELDS = {
    "batch": "dataloader.train.total_batch_size", "learning_rate": "optimizer.lr", "iterations": "train.max_iter",
    "warmup": "lr_multiplier.warmup_length",
}  # fmt: skip


def recipe_path(settings: DetectionSettings) -> Path:
    """The recipe's file. UserError if there is none."""
    return settings.recipe_of(OWN, "a LazyConfig")


def resolve(settings: DetectionSettings, backbone: Path, data: Data, output: Path) -> Resolved:
    """The config of one training.

    backbone: the LazyConfig that the converter wrote. Errors: UserError for values or overrides that don't fit.
    """
    from transfer.detection.detectron2.dataset import names_of
    from transfer.detection.detectron2.variants import without_masks

    config, narrow, names = read(recipe_path(settings)), read(backbone), names_of(data)
    check_target(config, settings)
    if not data.has_masks and "mask_head" in config.model.roi_heads:
        without_masks(config.model, config.dataloader)
    take_channels(config.model.backbone, narrow.model.backbone.bottom_up, recipe_path(settings).name)
    config.model.pixel_mean, config.model.pixel_std = narrow.model.pixel_mean, narrow.model.pixel_std
    config.model.roi_heads.num_classes = len(data.classes)
    train, loaders = config.train, config.dataloader
    train.init_checkpoint, train.output_dir, train.seed = narrow.train.init_checkpoint, str(output), settings.seed
    loaders.train.dataset.names, loaders.test.dataset.names = names["train"] or names["val"], names["val"][0]
    if data.has_masks:
        loaders.train.mapper.instance_mask_format = data.mask_format
    if settings.target == "coco":
        loaders.evaluator.output_dir = str(output / "inference")
    if settings.device:
        train.device = settings.device
    if settings.image_size is not None:
        scale_to(config.model, loaders, settings.image_size)
    recipe = read_schedule(config, train.get("reference_world_size", 1))
    apply_schedule(config, recipe, scale(recipe, settings.num_gpus, settings.batch, settings.iterations))
    apply_overrides(config, list(settings.overrides))
    used = read_schedule(config, settings.num_gpus)
    if used.batch % settings.num_gpus:
        raise UserError(f"a batch of {used.batch} is not divisible by {settings.num_gpus} processes")
    keys = [parse(override)[0] for override in settings.overrides]
    return Resolved(config, used, explain(recipe, used, tuple(name for name, key in FIELDS.items() if key in keys)))


def read(path: Path):
    """A LazyConfig. UserError for a file that is none."""
    try:
        return read_file(path)
    except Exception as error:  # a config is a program
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{path} is no LazyConfig: {reason}") from None


@read_once
def read_file(path: Path):
    """As the framework reads it, with the framework's own errors."""
    from detectron2.config import LazyConfig

    return LazyConfig.load(str(path))


def check_target(config, settings: DetectionSettings) -> None:
    """UserError for a recipe of the other target, or of none."""
    missing = [part for part in ("model", "dataloader", "optimizer", "lr_multiplier", "train") if part not in config]
    if missing:
        raise UserError(f"{recipe_path(settings).name} has no '{missing[0]}'; expected a LazyConfig of detectron2 such "
                        f"as {OWN[settings.target].name}")  # fmt: skip
    evaluator = config.dataloader.evaluator["_target_"]
    target = "voc" if str(evaluator).rstrip("'>").endswith("VocEvaluator") else "coco"
    if target != settings.target:
        raise UserError(f"{recipe_path(settings).name} is a recipe for {target}; expected one for {settings.target} "
                        f"such as {OWN[settings.target].name}")  # fmt: skip


def take_channels(backbone, narrow, recipe: str) -> None:
    """Give the recipe's ResNet the stages of ``narrow``; what it freezes and how it normalises stays the recipe's.

    Errors: UserError for a recipe of another kind of backbone.
    """
    own = backbone.get("bottom_up", {})
    if not all(part in own for part in ("stem", "stages", "freeze_at")) or len(own.stages) != len(narrow.stages):
        raise UserError(
            f"the backbone of {recipe} is no ResNet with a stem, {len(narrow.stages)} stages and freeze_at below a "
            f"pyramid, which a converted one could replace; expected one such as {OWN['coco'].name}"
        )
    for stage, recipes in zip(narrow.stages, own.stages, strict=True):
        stage.norm = recipes.get("norm", stage.norm)
    own.stem.out_channels, own.stages = narrow.stem.out_channels, narrow.stages


def read_schedule(config, processes: int) -> Schedule:
    """What a config's loader, optimizer and schedules say. processes: that share its batch."""
    train, warmup = config.train, config.lr_multiplier.get("warmup_length", 0)
    return Schedule(
        config.dataloader.train.total_batch_size, config.optimizer.lr, train.max_iter, round(warmup * train.max_iter),
        processes,
    )  # fmt: skip


def apply_schedule(config, recipe: Schedule, used: Schedule) -> None:
    """Write ``used`` into the config; periods between checkpoints and evaluations keep their number of images."""
    ratio, train = Fraction(recipe.batch, used.batch), config.train
    config.dataloader.train.total_batch_size, config.optimizer.lr = used.batch, used.learning_rate
    train.max_iter = used.iterations
    train.eval_period = round(train.eval_period * ratio)
    train.checkpointer.period = max(1, round(train.checkpointer.period * ratio))
    if "warmup_length" in config.lr_multiplier:
        config.lr_multiplier.warmup_length = used.warmup / used.iterations


def settings_values(config) -> dict:
    """The config as JSON values, without what a machine chooses: paths, the device and names of registered data."""
    from omegaconf import OmegaConf

    def simple(value):
        if isinstance(value, dict):
            return {str(key): simple(item) for key, item in value.items() if key not in MACHINE}
        if isinstance(value, list | tuple):
            return [simple(item) for item in value]
        return f"{value.__module__}.{value.__qualname__}" if callable(value) else value

    return json.loads(json.dumps(simple(OmegaConf.to_container(config, resolve=True)), default=str))


def summary(resolved: Resolved, data: Data) -> str:
    """The settings that decide about time and accuracy, in a few lines."""
    config = resolved.config
    rpn, loader = config.model.proposal_generator, config.dataloader.train
    sizes = list(loader.mapper.augmentations[0].short_edge_length)
    anchors = ", ".join(f"{size:g}" for level in rpn.anchor_generator.sizes for size in level)
    train_images = f"{data.train_count} training and " if data.train_count else ""
    lines = {
        "data": f"{data.folder}: {train_images}{data.val_count} validation images, {len(data.classes)} classes"
        f"{data.note}",
        "images": f"shorter side {image_size(config.dataloader)} px, in training {', '.join(map(str, sizes))}",
        "anchors": f"{anchors} px",
        "proposals": f"{rpn.pre_nms_topk[0]} a level, {rpn.post_nms_topk[0]} an image after suppression "
        f"(evaluation: {rpn.pre_nms_topk[1]}, {rpn.post_nms_topk[1]}); "
        f"{config.model.roi_heads.batch_size_per_image} an image train the heads",
        "norm": f"{config.model.backbone.norm}, on {config.train.device}",
    }
    return "\n".join([*(f"{name:12}{text}" for name, text in lines.items()), *resolved.reasons])
