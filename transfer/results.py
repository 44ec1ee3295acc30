"""result.json: one evaluation of one width, the same file from every evaluation. ``schema`` is its JSON Schema, which
docs/result.schema.json holds for programs in other languages."""

import hashlib
import json
import math
import platform
import sys
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

import pretrain
from pretrain.common.errors import UserError, nearest
from pretrain.common.files import write_json
from pretrain.slimmable.widths import Plan
from transfer.targets import TASKS
from transfer.text import printable

SCHEMA_VERSION = 1
FILE_NAME = "result.json"
LARGEST = 2**63 - 1  # of whole numbers: what other programs can read as one
DEEPEST = 50  # of what lies within each other

Text = Annotated[str, Field(min_length=1)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Amount = Annotated[int, Field(ge=1, le=LARGEST)]
AnySeed = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Percent = Annotated[float, Field(ge=-0.001, le=100.001, allow_inf_nan=False)]
WHOLE = {"extra": "forbid", "strict": True}


@dataclass
class Result:
    """What one evaluation of one width found.

    method: the pretraining's, or ``random``. seed: the evaluation's. metrics: flat, in percent (``top1``, ``box/AP``),
    None where a metric is undefined. params, macs: of the plain backbone without a classifier, at the evaluation's
    image size. checkpoint: hash of the universal checkpoint, None for random weights. config: ``settings_hash`` of the
    settings. details: free: resolved settings, where the weights came from (``pretraining``), per-class figures.
    """

    __pydantic_config__ = WHOLE

    task: Literal[tuple(TASKS)]
    dataset: Text
    method: Text
    backbone: Text
    width: Annotated[float, Field(gt=0, le=1)]
    seed: AnySeed
    metrics: Annotated[dict[str, Percent | None], Field(min_length=1)]
    params: Amount
    macs: Amount
    checkpoint: Hash | None
    config: Hash
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    details: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write ``folder/result.json`` in one step (a reader never sees half a file) and return its path."""
        path = Path(folder) / FILE_NAME
        record = check({"schema": SCHEMA_VERSION, **_sayable(asdict(self)), "versions": versions()}, path)
        return write_json(path, record, sort_keys=True)


@dataclass(kw_only=True)
class Record(Result):
    """A Result as it is written: with the version of this format, and those of the packages that it depends on."""

    __pydantic_config__ = WHOLE

    schema: Literal[SCHEMA_VERSION]
    details: dict[str, Any]
    versions: dict[str, str | None]


def named(method: str, width: float) -> tuple[str, dict]:
    """The method and the details that name a result at ``width``: a plan is told from the width of its share."""
    return (f"{method} by stage", {"plan": width.name}) if isinstance(width, Plan) else (method, {})


def result_folder(output: Path, dataset: str, task: str, width: float, method: str) -> Path:
    """OUTPUT/<dataset>/<task>/width_<w>[_random], the same for every evaluation."""
    return Path(output) / dataset / task / f"width_{width:g}{'_random' if method == 'random' else ''}"


def settings_hash(settings: dict) -> str:
    """sha256 of the settings as sorted JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def read_results(folder: Path) -> list[dict]:
    """Every valid ``result.json`` below ``folder``, oldest first; see ``located_results``."""
    return [record for _, record in located_results(folder)]


def located_results(folder: Path) -> list[tuple[Path, dict]]:
    """Every valid ``result.json`` below ``folder`` with its path, oldest first. One that is not is named and left out.

    Errors: UserError if there is no folder, no such file, or none that is valid.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; expected one that holds {FILE_NAME} files")
    found, refused = survey(folder)
    if not found and not refused:
        raise UserError(f"{folder} holds no {FILE_NAME}; evaluations write them, e.g. tools/transfer.py digits")
    if not found:
        raise refused[0]
    say_left_out(refused)
    return found


def say_left_out(refused: list[UserError]) -> None:
    """Name what is wrong with results that are no part of what is made of the others."""
    for error in refused:
        print(f"left out: {error}", file=sys.stderr, flush=True)


def survey(folder: Path) -> tuple[list[tuple[Path, dict]], list[UserError]]:
    """The valid results below ``folder`` with their paths, oldest first, and what is wrong with the others."""
    found, refused = [], []
    for path in sorted(folder.rglob(FILE_NAME), key=lambda path: (path.lstat().st_mtime_ns, str(path))):
        try:
            found.append((path, read_result(path)))
        except UserError as error:
            refused.append(error)
    return found, refused


def read_result(path: Path) -> dict:
    """One validated result; UserError names the file and what is wrong with it."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # ValueError: no UTF-8, no JSON, 5,000 digits
        raise UserError(f"{path} is damaged: {printable(str(error))[:160]}") from None
    return check(record, path)


def check(record: Any, path: Path) -> dict:
    """The record; UserError with its first violation of the schema, in one line."""
    where = f"{path} is no result of this schema"
    if not isinstance(record, dict):
        raise UserError(f"{where}: expected an object, got {str(record)[:60]!r}")
    try:
        _check_sayable(record)
        _record_type().validate_json(json.dumps(record))
    except ValidationError as error:
        # a key of another schema is missing as well: what is unknown says more
        first = min(error.errors(), key=lambda found: found["type"] != "unexpected_keyword_argument")
        *outer, key = map(str, first["loc"])
        message = first["msg"]
        if first["type"] == "unexpected_keyword_argument":
            message = f"unknown key{nearest(key, [known.name for known in fields(Record)])}"
        place = printable("/".join((*outer, key)))[:160]
        raise UserError(f"{where} at {place}: {printable(message)[:160]}") from None
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return record


def json_schema() -> dict:
    """The JSON Schema of ``result.json``, emitted from ``Record``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_record_type().json_schema()}


@cache
def _record_type() -> TypeAdapter:
    return TypeAdapter(Record)


@cache
def versions() -> dict[str, str | None]:
    """Versions of what a result depends on; None where a package is absent."""
    return {
        "python": platform.python_version(),
        "torch": version_of("torch"),
        "torchvision": version_of("torchvision"),
        "detectron2": version_of("detectron2"),
        "mmdet": version_of("mmdet"),
        "project": pretrain.__version__,
    }


def version_of(package: str) -> str | None:
    """The installed version of a package; None where it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        pass
    try:  # detectron2 may be on the path without its metadata
        return getattr(import_module(package), "__version__", None)
    except ImportError:
        return None


def _sayable(value: Any) -> Any:
    """``value`` as JSON can say it: NaN and infinities as None, what is no Unicode (of odd file names) escaped."""
    if isinstance(value, dict):
        return {_sayable(str(key)): _sayable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sayable(item) for item in value]
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _check_sayable(record: dict) -> None:
    """ValueError for what JSON can say and other programs, or tables, cannot read: it names the place."""
    left: list[tuple[tuple[str, ...], Any]] = [((), record)]
    while left:
        place, value = left.pop()
        where = f"at {printable('/'.join(place))[:160]}"
        if len(place) > DEEPEST:
            raise ValueError(f"{where}: more than {DEEPEST} levels within each other")
        if isinstance(value, dict):
            left += [((*place, key), item) for key, item in value.items()]
            left += [(place, key) for key in value]
        elif isinstance(value, list):
            left += [((*place, str(i)), item) for i, item in enumerate(value)]
        elif isinstance(value, int) and not -LARGEST <= value <= LARGEST:
            raise ValueError(f"{where}: a whole number of more than 63 bits")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{where}: {value} is no number of JSON")
        elif isinstance(value, str) and not _is_unicode(value):
            raise ValueError(f"{where!a}: text that is no Unicode")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
