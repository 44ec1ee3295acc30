"""result.json: one evaluation of one width, the same file from every evaluation (schema: result.schema.json)."""

import hashlib
import json
import math
import platform
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pretrain
from pretrain.common.errors import UserError
from pretrain.common.files import write_json

SCHEMA_VERSION = 1
FILE_NAME = "result.json"


@dataclass
class Result:
    """What one evaluation of one width found.

    task: ``linear``, ``knn`` or ``detection``. method: the pretraining's, or ``random``. seed: the evaluation's.
    metrics: flat, in percent (``top1``, ``box/AP``), None where a metric is undefined.
    params, macs: of the plain backbone without a classifier, at the evaluation's image size.
    checkpoint: hash of the universal checkpoint, None for random weights. config: ``settings_hash`` of the settings.
    details: free: resolved settings, where the weights came from (``pretraining``), per-class figures.
    """

    task: str
    dataset: str
    method: str
    backbone: str
    width: float
    seed: int
    metrics: dict[str, float | None]
    params: int
    macs: int
    checkpoint: str | None
    config: str
    seconds: float
    details: dict = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write ``folder/result.json`` in one step (a reader never sees half a file) and return its path."""
        path = Path(folder) / FILE_NAME
        record = {"schema": SCHEMA_VERSION, **_finite(asdict(self)), "versions": versions()}
        check(record, path)
        return write_json(path, record, sort_keys=True)


def result_folder(output: Path, dataset: str, task: str, width: float, method: str) -> Path:
    """OUTPUT/<dataset>/<task>/width_<w>[_random], the same for every evaluation."""
    return Path(output) / dataset / task / f"width_{width:g}{'_random' if method == 'random' else ''}"


def settings_hash(settings: dict) -> str:
    """sha256 of the settings as sorted JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def read_results(folder: Path) -> list[dict]:
    """Every ``result.json`` below ``folder``, validated, oldest first; UserError if there is none or one is damaged."""
    return [record for _, record in located_results(folder)]


def located_results(folder: Path) -> list[tuple[Path, dict]]:
    """``read_results`` with the path of each."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; expected one that holds {FILE_NAME} files")
    paths = sorted(folder.rglob(FILE_NAME), key=lambda path: (path.stat().st_mtime_ns, str(path)))
    if not paths:
        raise UserError(f"{folder} holds no {FILE_NAME}; evaluations write them, e.g. tools/transfer.py digits")
    return [(path, read_result(path)) for path in paths]


def read_result(path: Path) -> dict:
    """One validated result; UserError names the file and what is wrong with it."""
    try:
        record = json.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    check(record, path)
    return record


def check(record: Any, path: Path) -> None:
    """UserError with the first violation of the schema, in one line."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(_schema()).iter_errors(record))
    if error is not None:
        where = "/".join(map(str, error.absolute_path))
        what = " ".join(error.message.split())[:160]
        raise UserError(f"{path} is no result of this schema{f' at {where}' if where else ''}: {what}")


@cache
def _schema() -> dict:
    return json.loads((Path(__file__).parent / "result.schema.json").read_text())


@cache
def versions() -> dict[str, str | None]:
    """Versions of what a result depends on; None where a package is absent."""
    return {
        "python": platform.python_version(),
        "torch": _version("torch"),
        "torchvision": _version("torchvision"),
        "detectron2": _version("detectron2"),
        "mmdet": _version("mmdet"),
        "project": pretrain.__version__,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        pass
    try:  # detectron2 may be on the path without its metadata
        return getattr(import_module(package), "__version__", None)
    except ImportError:
        return None


def _finite(value: Any) -> Any:
    """``value`` with NaN and infinities as None: JSON has no word for them."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
