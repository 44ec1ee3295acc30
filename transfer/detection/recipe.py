"""From a recipe, a converted backbone, a data set and the command line's settings to the config of one training."""

import json
from dataclasses import dataclass
from pathlib import Path

from pretrain.errors import UserError
from transfer.detection.datasets import CocoData
from transfer.detection.overrides import apply_overrides
from transfer.detection.resolution import image_size, scale_to

MACHINE = ("output_dir", "init_checkpoint", "device", "names", "dataset_name", "num_workers")  # no part of a result
CONFIGS = Path(__file__).parents[2] / "configs/transfer"
COCO, DIGITS = CONFIGS / "mask_rcnn_fpn_coco.py", CONFIGS / "mask_rcnn_fpn_digits.py"


@dataclass(frozen=True)
class Settings:
    """What a user says about a detection training; None leaves the recipe's value.

    recipe: a LazyConfig of configs/transfer. data: a folder in COCO's layout. image_size: shorter side in pixels.
    batch: images of all processes together; the learning rate scales with it. overrides: ``key=value``, applied last.
    """

    recipe: Path = COCO
    data: Path | None = None
    iterations: int | None = None
    image_size: int | None = None
    batch: int | None = None
    num_gpus: int = 1
    device: str | None = None
    seed: int = 0
    resume: bool = False
    eval_only: bool = False
    overrides: tuple[str, ...] = ()


def resolve(settings: Settings, backbone: Path, data: CocoData, names: dict[str, str], output: Path):
    """The LazyConfig of one training: ``model``, ``dataloader``, ``optimizer``, ``lr_multiplier``, ``train``.

    backbone: the LazyConfig that the converter wrote. names: of the registered splits. Errors: UserError for values or
    overrides that don't fit.
    """
    from detectron2.config import LazyConfig

    if not settings.recipe.is_file():
        raise UserError(f"no such recipe: {settings.recipe}; expected a LazyConfig such as {COCO.name}")
    config, narrow = LazyConfig.load(str(settings.recipe)), LazyConfig.load(str(backbone))
    config.model.backbone.bottom_up = narrow.model.backbone.bottom_up
    config.model.pixel_mean, config.model.pixel_std = narrow.model.pixel_mean, narrow.model.pixel_std
    config.model.roi_heads.num_classes = len(data.classes)
    train, loaders = config.train, config.dataloader
    train.init_checkpoint, train.output_dir, train.seed = narrow.train.init_checkpoint, str(output), settings.seed
    loaders.train.dataset.names, loaders.test.dataset.names = names.get("train", names["val"]), names["val"]
    loaders.train.mapper.instance_mask_format = data.mask_format
    loaders.evaluator.output_dir = str(output / "inference")
    if settings.device:
        train.device = settings.device
    if settings.image_size is not None:
        scale_to(config.model, loaders, positive(settings.image_size, "--image-size"))
    if settings.batch is not None:
        config.optimizer.lr *= positive(settings.batch, "--batch") / loaders.train.total_batch_size
        loaders.train.total_batch_size = settings.batch
    if settings.iterations is not None:
        train.max_iter = positive(settings.iterations, "--iterations")
    apply_overrides(config, list(settings.overrides))
    if loaders.train.total_batch_size % settings.num_gpus:
        raise UserError(
            f"a batch of {loaders.train.total_batch_size} is not divisible by {settings.num_gpus} processes"
        )
    return config


def positive(value: int, option: str) -> int:
    if value < 1:
        raise UserError(f"{option} {value} is not positive")
    return value


def plain_settings(config) -> dict:
    """The config as JSON values, without what a machine chooses: paths, the device and names of registered data."""
    from omegaconf import OmegaConf

    def plain(value):
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items() if key not in MACHINE}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return f"{value.__module__}.{value.__qualname__}" if callable(value) else value

    return json.loads(json.dumps(plain(OmegaConf.to_container(config, resolve=True)), default=str))


def summary(config, data: CocoData) -> str:
    """The settings that decide about time and accuracy, in a few lines."""
    rpn, loader = config.model.proposal_generator, config.dataloader.train
    sizes = list(loader.mapper.augmentations[0].short_edge_length)
    anchors = ", ".join(f"{size:g}" for level in rpn.anchor_generator.sizes for size in level)
    train_images = f"{data.train.image_count} training and " if data.train else ""
    lines = {
        "data": f"{data.folder}: {train_images}{data.val.image_count} validation images, {len(data.classes)} classes",
        "images": f"shorter side {image_size(config.dataloader)} px, in training {', '.join(map(str, sizes))}",
        "anchors": f"{anchors} px",
        "proposals": f"{rpn.pre_nms_topk[0]} a level, {rpn.post_nms_topk[0]} an image after suppression "
        f"(evaluation: {rpn.pre_nms_topk[1]}, {rpn.post_nms_topk[1]}); "
        f"{config.model.roi_heads.batch_size_per_image} an image train the heads",
        "training": f"{config.train.max_iter} iterations of {loader.total_batch_size} images, "
        f"learning rate {config.optimizer.lr:g}, norm {config.model.backbone.norm}, {config.train.device}",
    }
    return "\n".join(f"{name:12}{text}" for name, text in lines.items())
