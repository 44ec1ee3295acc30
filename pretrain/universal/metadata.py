"""What a universal checkpoint says of itself, and what of it must hold before anything is built from it.

Files come from strangers: every value that the suite computes with is checked for its type and its range, so that a
crafted file ends in one line. What only describes the training (objective, optimizer, versions …) may be any JSON.
"""

import json
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pretrain.common.errors import UserError
from pretrain.slimmable.widths import Width

DEEPEST = 32  # levels of nested values
MOST = 1 << 16  # channels, pixels or layers; a crafted number must not build modules until memory is full

Size = Annotated[int, Field(ge=1, le=MOST)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PerChannel = Field(min_length=1, max_length=1000)
Option = Annotated[str, Field(max_length=100)] | bool | Size | Annotated[list[Width], Field(max_length=1000)]


class _Facts(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class DataFacts(_Facts):
    """name: of the data set. images: of its training split. image_size: px that a view has."""

    name: str
    image_size: Size
    images: Annotated[int, Field(ge=0)] | None = None


class CalibrationFacts(_Facts):
    """widths, plans: those with statistics. by_width: for each, by ``f"{width:g}"``, what they were estimated on."""

    widths: Annotated[list[Width], Field(max_length=10_000)]
    plans: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=10_000)] = []
    by_width: dict[str, dict[str, Any]] = {}
    batch_size: Annotated[int, Field(ge=1)] | None = None
    batches: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    views: dict[str, Any] | None = None


class ProjectorFacts(_Facts):
    """The arguments of ``Head``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sizes: Annotated[list[Size], Field(min_length=2, max_length=32)]
    hidden_bias: bool = True
    last_bias: bool = True
    final_norm: bool = False


class Facts(_Facts):
    """The metadata of a file; docs/checkpoint.md says what each key means."""

    method: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]
    backbone: dict[str, Option | None]
    width_range: Annotated[list[Width], Field(min_length=2, max_length=2)]
    data: DataFacts
    mean: Annotated[list[float], PerChannel]
    std: Annotated[list[Annotated[float, Field(gt=0)]], PerChannel]
    channel_order: Literal["RGB", "file"] = "RGB"
    calibration: CalibrationFacts
    projector: ProjectorFacts | None = None
    weights_sha256: Digest
    checksum: Digest | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Facts":
        low, high = self.width_range
        if low > high:
            raise ValueError(f"width_range {low:g} to {high:g} is no range")
        outside = [width for width in self.calibration.widths if not low <= width <= high]
        if outside:
            raise ValueError(f"calibrated width {outside[0]:g} is outside the range {low:g} to {high:g}")
        channels = self.backbone.get("input_channels") or 3
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) != channels:
                raise ValueError(f"{name}: {len(numbers)} numbers for images of {channels} channels")
        if self.method == "random":
            raise ValueError("method 'random' stands for networks that were not pretrained")
        return self


def parse(text: str) -> dict:
    """Metadata from JSON. ValueError, of one line, for what is no JSON object, NaN, or nested too deep."""
    try:
        values = json.loads(text, parse_constant=_no_number)
        deep = _depth(values) > DEEPEST
    except RecursionError:
        deep = True
    if deep:
        raise ValueError(f"values nested more than {DEEPEST} levels deep")
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, got {type(values).__name__}")
    return values


def check(values: dict) -> None:
    """UserError, of one line, that names the first value which is missing, of the wrong type, or out of range."""
    try:
        Facts.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        got = "" if first["type"] in ("missing", "value_error") else f", got {str(first['input'])[:60]!r}"
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"its metadata are wrong: {key + ': ' if key else ''}{message}{got}") from None


def _depth(value: Any) -> int:
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("a number that is too large")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
