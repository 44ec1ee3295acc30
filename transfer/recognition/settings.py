"""Settings of a recognition evaluation, and the overrides ``key=value`` that a command line gives."""

import ast
import dataclasses
import os
from dataclasses import dataclass
from types import UnionType
from typing import get_args, get_origin

from pretrain.common.errors import UserError, nearest
from transfer.recognition.probe import ProbeSettings

PROTOCOLS = ("fast", "paper", "knn")


@dataclass(frozen=True)
class Settings:
    """Protocol ``fast``: kNN and a linear probe; ``knn``: the first alone; ``paper``: docs/method.md, section 5.

    image_size: px, None for pretraining's. batch: images a step; epochs: passes of the linear head; learning_rate: of
    the paper's; None for the protocol's own. learning_rates, weight_decays, validation, views (augmented, of each
    image): of the fast probe. neighbours: None for 20, or 200 on large sets. calibration_*: how much calibration here
    sees, None for as much as the checkpoint's own saw. Overridden by name on the command line.
    """

    protocol: str = "fast"
    image_size: int | None = None
    batch: int | None = None
    epochs: int | None = None
    seed: int = 0
    learning_rates: tuple[float, ...] = ProbeSettings.learning_rates
    weight_decays: tuple[float, ...] = ProbeSettings.weight_decays
    validation: float = ProbeSettings.validation
    views: int | None = None
    neighbours: int | None = None
    temperature: float = 0.07
    learning_rate: float | None = None
    calibration_batch: int | None = None
    calibration_batches: int | None = None
    workers: int = min(4, os.cpu_count() or 1)

    def __post_init__(self):
        if self.protocol not in PROTOCOLS:
            raise UserError(f"unknown protocol '{self.protocol}'{nearest(self.protocol, PROTOCOLS)}")
        for name in ("image_size", "batch", "epochs", "neighbours", "calibration_batch", "calibration_batches"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(f"{name} is {value!r}; expected a positive whole number")
        if self.views is not None and self.views < 0:
            raise UserError(f"views is {self.views}; expected a whole number, 0 for the plain view alone")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise UserError(f"learning_rate is {self.learning_rate:g}; expected a positive number")
        for name in ("learning_rates", "weight_decays"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or not values or min(values) < 0:
                raise UserError(f"{name} is {values!r}; expected numbers, e.g. {name}=0.01,0.1")
        if not 0 < self.validation <= 0.5:
            raise UserError(f"validation is {self.validation:g}; expected a share of the images in (0, 0.5]")

    @property
    def probe(self) -> ProbeSettings:
        """Of the fast linear probe."""
        found = ProbeSettings(self.learning_rates, self.weight_decays, validation=self.validation)
        return dataclasses.replace(found, epochs=self.epochs, min_iterations=1) if self.epochs else found

    def recorded(self) -> dict:
        """What decides the figures, for ``details`` and the config's hash: all but the number of workers."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "workers"}


def override(settings: Settings, assignments: list[str]) -> Settings:
    """``settings`` with every ``key=value`` applied; UserError names the nearest key for an unknown one."""
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    changes = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"'{assignment}' is no override; expected key=value")
        if key not in fields:
            raise UserError(f"unknown setting '{key}'{nearest(key, fields)}")
        changes[key] = _value(key, text, fields[key].type)
    return dataclasses.replace(settings, **changes)


def _value(key: str, text: str, kind: type) -> object:
    """``text`` as the field's type: a number, None where it may be, a text, or a tuple of numbers."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    kinds = get_args(kind) if isinstance(kind, UnionType) else (get_origin(kind) or kind,)
    if tuple in kinds:
        value = tuple(value) if isinstance(value, list | tuple) else (value,)
        fits = all(isinstance(item, int | float) for item in value)
    elif float in kinds:
        fits = isinstance(value, (int, *kinds))
    else:
        fits = isinstance(value, kinds) and not isinstance(value, bool)
    if not fits:
        raise UserError(f"{key}={text}: expected {'numbers' if tuple in kinds else 'a number'}")
    return value
