"""The resolved settings of a pretraining run: small dataclasses, read from mmengine's python configs.

mmengine accepts any key silently; here an unknown key or a wrong type is an error that names the nearest valid one.
"""

import ast
import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import torch
from pydantic import Discriminator, TypeAdapter, ValidationError

from pretrain.backbones import backbone_options, create_backbone
from pretrain.common.errors import UserError, nearest
from pretrain.configfile import Address, read_config
from pretrain.data.augmentation.settings import Augmentation
from pretrain.monitor import Monitor
from pretrain.objectives import AnySettings
from pretrain.objectives.us3l import US3LSettings
from pretrain.optim import Optimizer
from pretrain.slimmable.widths import TEN_WIDTHS, WIDTH_MAX, WIDTH_MIN

LINEAR_EVALUATION = Augmentation(crop_scale=(0.8, 1.0), interpolation="bicubic", jitter_p=0.0, grayscale=0.0)
OBJECTIVES = {kind.__dataclass_fields__["name"].default: kind for kind in get_args(AnySettings)}
MACHINE_KEYS = (
    "data.root", "data.workers", "training.log_interval", "training.threads", "training.deterministic",
    "training.checkpoint_minutes",
)  # fmt: skip
LENGTH_KEYS = ("training.epochs", "training.iterations")  # in which a finished run that goes on for longer may differ
POSITIVE_KEYS = (
    "training.epochs", "training.iterations", "training.batch_size", "training.log_interval",
    "training.checkpoint_interval", "sampling.networks", "optimizer.lr_batch",
    "data.image_size", "optimizer.groups", "calibration.batches", "calibration.batch_size",
    "monitor.patience", "monitor.knn_interval", "monitor.knn_images",
)  # fmt: skip


@dataclass(frozen=True)
class Backbone:
    """Arguments of ``create_backbone``; None is the backbone's own default, or that it has no such option.

    ``validate`` fills in the defaults, and as a vision transformer's image_size that of the data.
    """

    name: str = "resnet18"
    stem: str | None = None
    base_channels: int | None = None
    private_norms: tuple[float, ...] | None = None
    image_size: int | None = None
    patch_size: int | None = None
    depth: int | None = None
    slim: str | None = None

    @property
    def arguments(self) -> dict:
        """What is not None."""
        return {key: value for key, value in vars(self).items() if value is not None}

    def __str__(self) -> str:
        options = (f"{key} {value}" for key, value in self.arguments.items() if key != "name")
        return f"{self.name} ({', '.join(options)})"


@dataclass(frozen=True)
class Data:
    """name, root, images_per_class: see ``image_dataset``. mean, std: of images in [0, 1]. workers: of the loader.

    views: the augmentation; second_views: of the second view, where it is another one. decode: ``reduced`` decodes a
    JPEG at 1/2, 1/4 or 1/8 of its size where both views have image_size px left: faster, and close to ``full``.
    """

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    root: str | None = None
    image_size: int = 32
    images_per_class: int | None = None
    workers: int = 0
    decode: Literal["full", "reduced"] = "full"
    views: Augmentation = field(default_factory=Augmentation)
    second_views: Augmentation | None = None


@dataclass(frozen=True)
class Sampling:
    """See ``WidthSampler``; with ``widths`` every iteration runs just these.

    grid: distance of the widths that random ones are rounded to, so that compilers and allocators see few shapes; by
    default every sub-network can be drawn (90 of ResNet-18, 378 of ResNet-50).
    """

    dynamic: bool = True
    sandwich: bool = True
    networks: int | None = None
    widths: tuple[float, ...] | None = None
    grid: float | None = None


@dataclass(frozen=True)
class Training:
    """batch_size and chunks count over all processes; chunks defaults to one per process.

    iterations: instead of ``epochs``. precision: ``auto`` is bf16 where the device is good at it, else fp32.
    update: one optimizer step per iteration (``accumulate``, the paper) or after each width, largest first
    (``per_width``, the released program). memory: ``low`` runs one backward pass per width, with the same gradients.
    compile: the backbone by torch.compile, a graph for each sub-network (pretrain/run/device.py). deterministic: on
    GPUs, only kernels whose bits repeat; False is faster for vision transformers.
    keep_projector: in the universal checkpoint, which SEED's teachers need. threads: of torch, per process; by
    default torch's own choice at the start. Intervals are in iterations. checkpoint_minutes: also save when so many
    minutes have passed; it does not change what is computed.
    """

    epochs: int = 400
    iterations: int | None = None
    batch_size: int = 512
    chunks: int | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    update: Literal["accumulate", "per_width"] = "accumulate"
    memory: Literal["normal", "low"] = "normal"
    compile: bool = False
    deterministic: bool = True
    keep_projector: bool = False
    threads: int | None = None
    seed: int = 0
    log_interval: int = 10
    checkpoint_interval: int = 500
    checkpoint_minutes: float = 10.0


@dataclass(frozen=True)
class Calibration:
    """Widths of the universal checkpoint, and the ``batches`` of linear evaluation's training views behind them.

    widths: by default the paper's (1 to .3 in tenths, .75 and .25) that lie in the range, and the range's ends.
    """

    widths: tuple[float, ...] | None = None
    batch_size: int = 512
    batches: int = 20
    views: Augmentation = LINEAR_EVALUATION


@dataclass(frozen=True)
class PretrainConfig:
    data: Data
    method: str = "us3l"
    width_range: tuple[float, float] = (WIDTH_MIN, WIDTH_MAX)
    backbone: Backbone = field(default_factory=Backbone)
    objective: Annotated[AnySettings, Discriminator("name")] = field(default_factory=US3LSettings)
    sampling: Sampling = field(default_factory=Sampling)
    optimizer: Optimizer = field(default_factory=Optimizer)
    training: Training = field(default_factory=Training)
    calibration: Calibration = field(default_factory=Calibration)
    monitor: Monitor = field(default_factory=Monitor)

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
        return hashlib.sha256(json.dumps(_without_machine(self.as_dict()), sort_keys=True).encode()).hexdigest()


def load_config(config: str | Path | Address, overrides: list[str]) -> PretrainConfig:
    """Read a config, ``FILE.py`` or ``FILE.py:ROW``, and apply ``key=value`` overrides, e.g. ``training.epochs=20``.

    Errors: UserError for a missing file or row, an unknown key, a value of the wrong type, or settings that contradict.
    """
    values = read_config(config)
    for override in overrides:
        _override(values, override)
    return validate(values)


def validate(values: dict) -> PretrainConfig:
    """A PretrainConfig from nested dictionaries; UserError names the first bad key."""
    values = _with_defaults(values)
    _check_keys(PretrainConfig, values, "")
    try:
        config = TypeAdapter(PretrainConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part not in OBJECTIVES)
        raise UserError(f"{key}: {first['msg']}, got {str(first['input'])[:60]!r}") from None
    _check_values(config)
    return dataclasses.replace(config, backbone=_resolved(config.backbone, config.data.image_size))


def _resolved(backbone: Backbone, image_size: int) -> Backbone:
    """With its defaults filled in. UserError for what ``create_backbone`` refuses, or for images of another size."""
    given = backbone.arguments
    if "image_size" in backbone_options(backbone.name):
        given.setdefault("image_size", image_size)
    with torch.device("meta"):
        arguments = create_backbone(**given).arguments
    if arguments.get("image_size", image_size) != image_size:
        raise UserError(f"backbone.image_size is {arguments['image_size']}, but data.image_size is {image_size}")
    return Backbone(**arguments)


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


def _override(values: dict, text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"'{text}' is no override; expected key=value, e.g. training.epochs=20")
    try:
        parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        parsed = value
    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise UserError(f"the config key '{key}' goes below '{part}', which is a single value")
    values[last] = parsed


def _check_keys(kind: type, values: Any, prefix: str) -> None:
    if not isinstance(values, dict):
        raise UserError(f"the config key '{prefix[:-1]}' takes keys of its own, got {values!r}")
    hints = get_type_hints(kind)
    for key, value in values.items():
        if key not in hints:
            raise UserError(f"unknown config key '{prefix}{key}'{nearest(key, hints)}")
        below = _dataclass_of(hints[key], key, value)
        if below is not None:
            _check_keys(below, value, f"{prefix}{key}.")


def _dataclass_of(hint: Any, key: str, value: Any) -> type | None:
    """The dataclass that ``value`` is meant to fill, None where it is a single value."""
    if key == "objective" and isinstance(value, dict):
        if value["name"] not in OBJECTIVES:
            raise UserError(f"unknown objective.name '{value['name']}'{nearest(str(value['name']), OBJECTIVES)}")
        return OBJECTIVES[value["name"]]
    choices = [choice for choice in (hint, *get_args(hint)) if dataclasses.is_dataclass(choice)]
    return choices[0] if choices and value is not None else None


def _check_values(config: PretrainConfig) -> None:
    """What types can't say: checked before anything is built."""
    low, high = config.width_range
    if not WIDTH_MIN <= low <= high <= WIDTH_MAX:
        raise UserError(f"width_range {low:g} to {high:g}; expected a range within {WIDTH_MIN:g} to {WIDTH_MAX:g}")
    for key, widths in _width_lists(config).items():
        for width in widths:
            if not low <= width <= high:
                raise UserError(f"{key}: {width:g} is outside the range {low:g} to {high:g}")
    for key in POSITIVE_KEYS:
        section, name = key.split(".")
        value = getattr(getattr(config, section), name)
        if value is not None and value < 1:
            raise UserError(f"{key} is {value}; expected a number from 1")
    if config.sampling.grid is not None and not config.sampling.grid > 0:
        raise UserError(f"sampling.grid is {config.sampling.grid:g}; expected a number above 0")
    if not 0 < config.training.checkpoint_minutes < inf:
        raise UserError(
            f"training.checkpoint_minutes is {config.training.checkpoint_minutes:g}; expected minutes above 0"
        )
    if config.method == "random":
        raise UserError("method 'random' stands for networks that were not pretrained; expected another name")
    if min(config.data.std) <= 0:
        raise UserError(f"data.std is {config.data.std}; expected three numbers above 0")
    config.objective.check()
    config.optimizer.check()
    chunks, batch = config.training.chunks or 1, config.training.batch_size
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
    old, new = (_without_machine(old), _without_machine(new)) if not prefix else (old, new)
    found = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}")
    return found


def _without_machine(values: dict) -> dict:
    values = json.loads(json.dumps(values))
    for key in MACHINE_KEYS:
        section, name = key.split(".")
        values.get(section, {}).pop(name, None)
    return values
