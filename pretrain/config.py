"""The resolved settings of a pretraining run: small dataclasses, read from mmengine's python configs.

mmengine accepts any key silently; here an unknown key or a wrong type is an error that names the nearest valid one.
"""

import dataclasses
import hashlib
import json
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Discriminator, Field

from pretrain.backbones import BACKBONES, backbone_options, create_backbone
from pretrain.common.errors import UserError
from pretrain.common.named import is_own, named
from pretrain.common.overrides import apply, parse
from pretrain.common.settings import read, settings
from pretrain.common.shapes import shapes_only
from pretrain.configfile import Address, read_config
from pretrain.data.images.datasets import DATASETS
from pretrain.monitor import MonitorSettings
from pretrain.objectives import OBJECTIVES, AnySettings
from pretrain.objectives.step import ObjectiveSettings
from pretrain.objectives.us3l import US3LSettings
from pretrain.optim import OptimizerSettings
from pretrain.sections import (
    LINEAR_EVALUATION,
    BackboneSettings,
    CalibrationSettings,
    DataSettings,
    SamplingSettings,
    TrainingSettings,
)
from pretrain.slimmable.widths import TEN_WIDTHS, WIDTH_MAX, WIDTH_MIN

MACHINE_KEYS = (
    "data.root", "data.workers", "data.on_bad", "data.max_bad", "training.log_interval", "training.threads",
    "training.deterministic", "training.checkpoint_minutes", "training.track", "backbone.weights",
)  # fmt: skip
TEACHER_KEYS = {  # paths of objectives that compare what lies there when a run goes on
    "seed": ("objective.teacher",),
    "distillation": ("objective.teacher.weights", "objective.teacher.cache"),
}
# keys that name weights, and what these are: the hash leaves their paths out, so who compares by it compares them too
WEIGHTS = {"backbone.weights": "weights", "objective.teacher": "teacher", "objective.teacher.weights": "teacher"}
SEED_KEYS = ("training.seed", "calibration.seed")
WIDTH_KEYS = ("width_range", "calibration.widths", "monitor.widths")
LENGTH_KEYS = ("training.epochs", "training.iterations")  # in which a finished run that goes on for longer may differ


@settings
class PretrainConfig:
    """A whole run.

    method: its name in results and tables. width_range: the smallest and the largest width.
    """

    data: DataSettings
    method: Annotated[str, Field(pattern=r"^[^\r\n]+$")] = "us3l"
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
        """Nested dicts, lists, numbers and text, as ``config.json`` and checkpoints hold them."""
        return json.loads(
            json.dumps(dataclasses.asdict(self) | {"backbone": self.backbone.arguments | self.backbone.start})
        )

    @property
    def hash(self) -> str:
        """SHA-256 of ``lasting``."""
        return _digest(self.lasting)

    @property
    def lasting(self) -> dict:
        """``as_dict`` of what determines the result: everything but the machine's paths, workers and threads. Weights
        that a path names are told by what they are, which checkpoints record."""
        return _lasting(self.as_dict())

    @property
    def lineage(self) -> str:
        """``hash`` without the seed and, of a network of one width, that width: trainings that it is common to are the
        seeds, and the widths, of one row of a table."""
        alone = self.width_range[0] == self.width_range[1]
        return _digest(_without((*SEED_KEYS, *(WIDTH_KEYS if alone else ())), self.lasting))


def load_config(config: str | Path | Address, overrides: list[str]) -> PretrainConfig:
    """Read a config, ``FILE.py`` or ``FILE.py:ROW``, and apply ``key=value`` overrides, e.g. ``training.epochs=20``.

    Errors: UserError for a missing file or row, an unknown key, a value of the wrong type, or settings that contradict.
    """
    values = read_config(config)
    _leave_to_another(values, overrides)
    apply(values, overrides)
    return validate(values)


def _leave_to_another(values: dict, overrides: list[str]) -> None:
    """Where an override names another objective than the config's, it starts with none of the config's settings of the
    objective, which mean something else there, and gives the method its name."""
    names = [value for key, value in map(parse, overrides) if key == "objective.name"]
    section = values.get("objective", {})
    if names and isinstance(section, dict) and names[-1] != section.get("name", "us3l"):
        values |= {"objective": {}, "method": str(names[-1])}


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
    """The backbone with its defaults filled in. UserError for what ``create_backbone`` refuses, or images of another
    size."""
    given, image_size = backbone.arguments, data.image_size
    if data.channels != 3:
        given.setdefault("input_channels", data.channels)
    if "image_size" in backbone_options(backbone.name):
        given.setdefault("image_size", image_size)
    with shapes_only():
        arguments = create_backbone(**given).arguments
    if arguments.get("image_size", image_size) != image_size:
        raise UserError(f"backbone.image_size is {arguments['image_size']}, but data.image_size is {image_size}")
    if (channels := arguments.get("input_channels", 3)) != data.channels:
        raise UserError(f"backbone.input_channels is {channels}, but data.channels is {data.channels}")
    start = backbone.start
    if start and backbone.weights is None:
        raise UserError(f"backbone.{next(iter(start))} is about weights to start from; expected backbone.weights=FILE")
    heads = {} if backbone.heads is None else {"heads": backbone.heads}  # said, even if it is the default
    return BackboneSettings(**arguments | heads | start)


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
    _check_fixed_widths(config)
    if config.method == "random":
        raise UserError("method 'random' stands for networks that were not pretrained; expected another name")
    channels = config.data.channels
    for key, values in (("data.mean", config.data.mean), ("data.std", config.data.std)):
        if len(values) != channels:
            raise UserError(f"{key} has {len(values)} numbers; expected {channels}, one for each of data.channels")
    config.objective.check()
    config.optimizer.check()
    check_chunks(config.training.batch_size, config.training.chunks or 1)


def _check_fixed_widths(config: PretrainConfig) -> None:
    """UserError for fixed widths that leave the largest network untrained, which targets and the checkpoint's range are
    of, and for private norms where a width may run that has none."""
    fixed, own, high = config.sampling.widths, config.backbone.private_norms, config.width_range[1]
    if fixed and max(fixed) != high:
        raise UserError(
            f"sampling.widths end at {max(fixed):g}, so nothing trains {high:g}; expected width_range to end there, too"
        )
    if own and not fixed:
        raise UserError("backbone.private_norms, but any width may be drawn; expected sampling.widths among them")
    for key, widths in _width_lists(config).items() if own else ():
        for width in widths:
            if width not in own:
                raise UserError(f"{key}: {width:g} has no norms of its own; expected one of backbone.private_norms")


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
    old, new = (_lasting(old), _lasting(new)) if not prefix else (old, new)
    found = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}")
    return found


def _lasting(values: dict) -> dict:
    return _without((*MACHINE_KEYS, *TEACHER_KEYS.get(values.get("objective", {}).get("name"), ())), values)


def _without(keys: tuple[str, ...], values: dict) -> dict:
    """A copy without the values of dotted ``keys``."""
    values = json.loads(json.dumps(values))
    for key in keys:
        section, (*path, name) = values, key.split(".")
        for part in path:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.pop(name, None)
    if values.get("data", {}).get("channels") == 3:  # as if there were no such key
        del values["data"]["channels"]
    return values


def _digest(values: dict) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
