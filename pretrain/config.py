"""The resolved settings of a pretraining run: small dataclasses, read from mmengine's python configs.

mmengine accepts any key silently; here an unknown key or a wrong type is an error that names the nearest valid one.
"""

import dataclasses
import hashlib
import json
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Discriminator, Field

from pretrain.backbones import BACKBONES, backbone_options, create_backbone
from pretrain.common.errors import UserError
from pretrain.common.named import is_own, named
from pretrain.common.overrides import apply
from pretrain.common.settings import PositiveFloat, PositiveInt, Processes, Seed, Share, Threads, read, settings
from pretrain.configfile import Address, read_config
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.images.datasets import DATASETS
from pretrain.monitor import MonitorSettings
from pretrain.objectives import OBJECTIVES, AnySettings
from pretrain.objectives.step import ObjectiveSettings
from pretrain.objectives.us3l import US3LSettings
from pretrain.optim import OptimizerSettings
from pretrain.slimmable.widths import TEN_WIDTHS, WIDTH_MAX, WIDTH_MIN

LINEAR_EVALUATION = Augmentation(crop_scale=(0.8, 1.0), interpolation="bicubic", jitter_p=0.0, grayscale=0.0)
MACHINE_KEYS = (
    "data.root", "data.workers", "data.on_bad", "data.max_bad", "training.log_interval", "training.threads",
    "training.deterministic", "training.checkpoint_minutes",
)  # fmt: skip
SEED_KEYS = ("training.seed", "objective.teacher", "calibration.seed")
WIDTH_KEYS = ("width_range", "calibration.widths", "monitor.widths")
LENGTH_KEYS = ("training.epochs", "training.iterations")  # in which a finished run that goes on for longer may differ


@settings
class BackboneSettings:
    """Arguments of ``create_backbone``; None is the backbone's own default, or that it has no such option.

    ``validate`` fills in the defaults. name: of the backbone, or ``module:attribute`` of somebody's own. stem: of a
    CNN, ``imagenet``, ``cifar`` or, of ResNets, ``cifar_half``. base_channels: of a CNN's stem at width 1.
    private_norms: the widths that have batch norms of their own, and no other width runs. image_size: of a vision
    transformer, in pixels; by default that of the data. patch_size, depth: of a vision transformer, in pixels and
    blocks. slim: of a vision transformer, the whole ``embedding`` or only the ``inputs`` of its layers. init: which
    initial weights the backbone starts from. input_channels: of the images; by default those of the data.
    """

    name: str = "resnet18"
    stem: str | None = None
    base_channels: PositiveInt | None = None
    private_norms: tuple[float, ...] | None = None
    image_size: PositiveInt | None = None
    patch_size: PositiveInt | None = None
    depth: PositiveInt | None = None
    slim: str | None = None
    init: str | None = None
    input_channels: PositiveInt | None = None

    @property
    def arguments(self) -> dict:
        """What is not None."""
        return {key: value for key, value in vars(self).items() if value is not None}

    def __str__(self) -> str:
        options = (f"{key} {value}" for key, value in self.arguments.items() if key != "name")
        return f"{self.name} ({', '.join(options)})"


@settings
class DataSettings:
    """The images and what becomes of them.

    name: of the data set, ``digits``, ``folder``, ``imagenet``, ``cifar10``, ``cifar100``, or ``module:function`` of
    somebody's own. mean, std: of each channel, for images in [0, 1]. root: the folder or file that holds the images, or
    several. image_size: side of a view in pixels. channels: of the images, 3 for RGB, 1 for gray, others as the files
    have them. images_per_class: only the first so many of each class. workers: processes of the loader. decode:
    ``reduced`` decodes a JPEG at 1/2, 1/4 or 1/8 of its size where both views have image_size px left, which is faster
    and close to ``full``. on_bad: ``replace`` an image that cannot be read by the next one of the epoch, or ``stop`` at
    the first. max_bad: share of all images that may be bad before the run stops. views: the augmentation. second_views:
    the augmentation of the second view, where it is another one.
    """

    name: str
    mean: tuple[Share, ...]
    std: tuple[PositiveFloat, ...]
    root: str | tuple[str, ...] | None = None
    image_size: PositiveInt = 32
    channels: PositiveInt = 3
    images_per_class: PositiveInt | None = None
    workers: Processes = 0
    decode: Literal["full", "reduced"] = "full"
    on_bad: Literal["replace", "stop"] = "replace"
    max_bad: Share = 0.001
    views: Augmentation = field(default_factory=Augmentation)
    second_views: Augmentation | None = None


@settings
class SamplingSettings:
    """Which widths an iteration runs, see ``WidthSampler``.

    dynamic: the largest network alone at first, then the smallest width falls in stages. sandwich: the largest and the
    smallest width run in every iteration. networks: of an iteration, by default 4, and 3 with ``dynamic``. widths: run
    just these in every iteration, instead of all that. grid: distance of the widths that random ones are rounded to, so
    that compilers and allocators see few shapes; by default every sub-network can be drawn (90 of ResNet-18, 378 of
    ResNet-50).
    """

    dynamic: bool = True
    sandwich: bool = True
    networks: PositiveInt | None = None
    widths: tuple[float, ...] | None = None
    grid: Annotated[float, Field(ge=0.001, le=1)] | None = None


@settings
class TrainingSettings:
    """How long, how large and in which arithmetic a run trains.

    epochs: passes over the images. iterations: their number, instead of ``epochs``. batch_size: images of an iteration,
    over all processes. chunks: parts of the batch that losses and batch norms see, over all processes; by default one
    for each. precision: ``auto`` is bf16 where the device is good at it, else fp32. update: one optimizer step per
    iteration (``accumulate``, the paper) or after each width, largest first (``per_width``, the released program), with
    the momentum encoder after each of these steps too (``per_width_momentum``, its US+BYOL and US+MoCo v3). memory:
    ``low`` runs one backward pass per width, with the same gradients. compile: the backbone by torch.compile, a graph
    for each sub-network. deterministic: on GPUs, only kernels whose bits repeat; False is faster for vision
    transformers. keep_projector: in the universal checkpoint, which SEED's teachers need. threads: of torch, in each
    process; by default torch's own choice at the start. seed: of everything random. log_interval: iterations between
    two lines of the log. checkpoint_interval: iterations between two checkpoints. checkpoint_minutes: minutes after
    which one is saved all the same, which does not change what is computed.
    """

    epochs: PositiveInt = 400
    iterations: PositiveInt | None = None
    batch_size: PositiveInt = 512
    chunks: PositiveInt | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    update: Literal["accumulate", "per_width", "per_width_momentum"] = "accumulate"
    memory: Literal["normal", "low"] = "normal"
    compile: bool = False
    deterministic: bool = True
    keep_projector: bool = False
    threads: Threads | None = None
    seed: Seed = 0
    log_interval: PositiveInt = 10
    checkpoint_interval: PositiveInt = 500
    checkpoint_minutes: PositiveFloat = 10.0


@settings
class CalibrationSettings:
    """The widths of the universal checkpoint, and the images behind their statistics.

    widths: by default the paper's (1 to .3 in tenths, .75 and .25) that lie in the range, and the range's ends.
    batch_size: images that are normalised together. batches: how many of them. views: the augmentation, by default that
    of linear evaluation.
    """

    widths: tuple[float, ...] | None = None
    batch_size: PositiveInt = 512
    batches: PositiveInt = 20
    views: Augmentation = LINEAR_EVALUATION


@settings
class PretrainConfig:
    """A whole run.

    method: its name in results and tables. width_range: the smallest and the largest width.
    """

    data: DataSettings
    method: str = "us3l"
    width_range: tuple[float, float] = (WIDTH_MIN, WIDTH_MAX)
    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    objective: Annotated[AnySettings, Discriminator("name")] = field(default_factory=US3LSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)

    @property
    def calibrated_widths(self) -> tuple[float, ...]:
        """The widths of the universal checkpoint, widest first."""
        if self.calibration.widths is not None:
            return self.calibration.widths
        if self.sampling.widths is not None:
            return self.sampling.widths
        low, high = self.width_range
        return tuple(sorted({*(w for w in TEN_WIDTHS if low <= w <= high), low, high}, reverse=True))

    def as_dict(self) -> dict:
        """Plain values, as ``config.json`` and checkpoints hold them."""
        return json.loads(json.dumps(dataclasses.asdict(self) | {"backbone": self.backbone.arguments}))

    @property
    def hash(self) -> str:
        """SHA-256 of what determines the result: everything but the machine's paths, workers and threads."""
        return _digest(_without(MACHINE_KEYS, self.as_dict()))

    @property
    def lineage(self) -> str:
        """``hash`` without the seed, the teacher's path and, of a network of one width, that width: trainings that it
        is common to are the seeds, and the widths, of one row of a table."""
        alone = self.width_range[0] == self.width_range[1]
        return _digest(_without((*MACHINE_KEYS, *SEED_KEYS, *(WIDTH_KEYS if alone else ())), self.as_dict()))


def load_config(config: str | Path | Address, overrides: list[str]) -> PretrainConfig:
    """Read a config, ``FILE.py`` or ``FILE.py:ROW``, and apply ``key=value`` overrides, e.g. ``training.epochs=20``.

    Errors: UserError for a missing file or row, an unknown key, a value of the wrong type, or settings that contradict.
    """
    values = read_config(config)
    apply(values, overrides)
    return validate(values)


def validate(values: dict) -> PretrainConfig:
    """A PretrainConfig from nested dictionaries; UserError names the first bad key."""
    values = _with_defaults(values)
    own = _own_objective(values)
    config = read(PretrainConfig, values, noun="config key")
    config = dataclasses.replace(config, objective=own) if own is not None else config
    named(config.backbone.name, BACKBONES, "backbone", typed=True)
    named(config.data.name, DATASETS, "data set", typed=True)
    _check_values(config)
    return dataclasses.replace(config, backbone=_resolved(config.backbone, config.data))


def _own_objective(values: dict) -> ObjectiveSettings | None:
    """The settings of an objective outside of the suite, ``name = "module:Settings"``, taken out of ``values``."""
    objective = values["objective"]
    if not isinstance(objective, dict) or not is_own(str(objective["name"])):
        return None
    del values["objective"]
    kind = named(objective["name"], OBJECTIVES, "objective.name", typed=True)
    return read(kind, objective, noun="key of the objective")


def _resolved(backbone: BackboneSettings, data: DataSettings) -> BackboneSettings:
    """With its defaults filled in. UserError for what ``create_backbone`` refuses, or for images of another size."""
    given, image_size = backbone.arguments, data.image_size
    if data.channels != 3:
        given.setdefault("input_channels", data.channels)
    if "image_size" in backbone_options(backbone.name):
        given.setdefault("image_size", image_size)
    with torch.device("meta"):
        arguments = create_backbone(**given).arguments
    if arguments.get("image_size", image_size) != image_size:
        raise UserError(f"backbone.image_size is {arguments['image_size']}, but data.image_size is {image_size}")
    if (channels := arguments.get("input_channels", 3)) != data.channels:
        raise UserError(f"backbone.input_channels is {channels}, but data.channels is {data.channels}")
    return BackboneSettings(**arguments)


def _with_defaults(values: dict) -> dict:
    """Defaults that depend on other keys: the objective is US3L's; views given in part are completed by section."""
    values = dict(values)
    objective = values.get("objective", {})
    if isinstance(objective, dict):
        values["objective"] = {"name": "us3l", **objective}
    calibration = values.get("calibration", {})
    if isinstance(calibration, dict) and "views" in calibration:  # the rest is linear evaluation's, not pretraining's
        views = dataclasses.asdict(LINEAR_EVALUATION) | calibration["views"]
        values["calibration"] = {**calibration, "views": views}
    data = values.get("data", {})
    if isinstance(data, dict) and isinstance(data.get("second_views"), dict):  # the rest is the first view's
        values["data"] = {**data, "second_views": {**data.get("views", {}), **data["second_views"]}}
    return values


def _check_values(config: PretrainConfig) -> None:
    """What types can't say: checked before anything is built."""
    low, high = config.width_range
    if not WIDTH_MIN <= low <= high <= WIDTH_MAX:
        raise UserError(f"width_range {low:g} to {high:g}; expected a range within {WIDTH_MIN:g} to {WIDTH_MAX:g}")
    for key, widths in _width_lists(config).items():
        for width in widths:
            if not low <= width <= high:
                raise UserError(f"{key}: {width:g} is outside the range {low:g} to {high:g}")
    if config.method == "random":
        raise UserError("method 'random' stands for networks that were not pretrained; expected another name")
    channels = config.data.channels
    for key, values in (("data.mean", config.data.mean), ("data.std", config.data.std)):
        if len(values) != channels:
            raise UserError(f"{key} has {len(values)} numbers; expected {channels}, one for each of data.channels")
    config.objective.check()
    config.optimizer.check()
    check_chunks(config.training.batch_size, config.training.chunks or 1)


def check_chunks(batch: int, chunks: int) -> None:
    """UserError for a batch that can't be cut into so many chunks, each large enough for batch norm."""
    if batch % chunks or batch // chunks < 2:
        raise UserError(f"a batch of {batch} in {chunks} chunks; expected equal chunks of at least 2 images")


def _width_lists(config: PretrainConfig) -> dict[str, tuple[float, ...]]:
    return {
        "calibration.widths": config.calibrated_widths,
        "sampling.widths": config.sampling.widths or (),
        "backbone.private_norms": config.backbone.private_norms or (),
        "monitor.widths": config.monitor.widths or (),
    }


def differences(old: dict, new: dict, prefix: str = "") -> list[str]:
    """Keys, dotted, in which two configs differ so that a resumed run would not be the same run."""
    old, new = (_without(MACHINE_KEYS, old), _without(MACHINE_KEYS, new)) if not prefix else (old, new)
    found = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}")
    return found


def _without(keys: tuple[str, ...], values: dict) -> dict:
    values = json.loads(json.dumps(values))
    for key in keys:
        section, _, name = key.rpartition(".")
        (values.get(section, {}) if section else values).pop(name, None)
    if values.get("data", {}).get("channels") == 3:  # as if there were no such key
        del values["data"]["channels"]
    return values


def _digest(values: dict) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
