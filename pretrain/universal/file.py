"""Reading and writing a universal checkpoint; docs/checkpoint.md describes the format for other programs.

A safetensors file, so that loading one from a stranger runs no code:

    backbone.<parameter>                               weights at full width, torchvision's or timm's names
    projector.<parameter>                              only if it was kept, for a student to distil from
    statistics.<channel key>/<batch norm>.mean|.var    calibrated statistics of a width
    metadata["us3l"]                                   sorted JSON, see ``pretrain/universal/metadata.py``

Everything sits under one metadata key because several are written in an order that changes from run to run. What is
read is checked before anything of its size is made: metadata, names, shapes, number formats, checksums, and that every
number is finite.
"""

import hashlib
import json
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import safetensors
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.common.files import write_bytes
from pretrain.common.shapes import shapes_only
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.calibrate import LayerMoments
from pretrain.slimmable.heads import Head
from pretrain.slimmable.norms.statistics import batch_norms
from pretrain.slimmable.plans import calibrated
from pretrain.universal import metadata as facts

FILE_NAME = "universal.safetensors"
FORMAT = 2
READABLE = (1, FORMAT)  # 1 has no checksum
KEY = "us3l"
WEIGHTS, STATISTICS = ("backbone.", "projector."), "statistics."
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
EMPTY = "0" * 64


class Contents(NamedTuple):
    """metadata: without what belongs to the file itself. statistics: channel key -> batch norm -> (mean, variance)."""

    backbone: SlimBackbone
    projector: Head | None
    metadata: dict
    statistics: dict[str, LayerMoments]


def network_state(backbone: nn.Module, projector: nn.Module | None) -> dict[str, Tensor]:
    """``backbone.…`` and, if there is one, ``projector.…`` as they are named in the file."""
    state = {f"backbone.{name}": t for name, t in backbone.state_dict().items()}
    if projector is not None:
        state |= {f"projector.{name}": t for name, t in projector.state_dict().items()}
    return state


def weights_hash(state: dict[str, Tensor]) -> str:
    """SHA-256 over names (the backbone's without their prefix), shapes and bytes of a state dict, in sorted order."""
    return _digest({name.removeprefix("backbone."): tensor for name, tensor in state.items()})


def _digest(tensors: dict[str, Tensor], text: str = "") -> str:
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(tensors.items(), key=itemgetter(0)):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def write_universal_file(path: Path, contents: Contents) -> None:
    """Write ``contents`` atomically; equal contents give equal bytes.

    Errors: UserError for metadata that could not be read again, or a place that cannot be written.
    """
    state = network_state(contents.backbone, contents.projector)
    statistics = {
        f"{STATISTICS}{key}/{name}.{what}": tensor
        for key, layers in contents.statistics.items()
        for name, moments in layers.items()
        for what, tensor in zip(("mean", "var"), moments, strict=True)
    }
    header, text = checked_header(contents.metadata, contents.projector, weights_hash(state))
    header["checksum"] = _digest(statistics, f"{text}\n")
    tensors = {name: t.detach().cpu().contiguous() for name, t in {**state, **statistics}.items()}
    write_bytes(path, to_bytes(tensors, {KEY: json.dumps(header, sort_keys=True)}))


def checked_header(metadata: dict, projector: Head | None, weights: str = EMPTY) -> tuple[dict, str]:
    """The metadata with what is the file's own but for its checksum, and as the JSON that the checksum is of.

    Errors: UserError for metadata that could not be read again.
    """
    header = {**metadata, "format": FORMAT, "weights_sha256": weights, "checksum": EMPTY}
    if projector is not None:
        header["projector"] = projector.arguments
    try:
        text = json.dumps(header, sort_keys=True, allow_nan=False)
        facts.check(facts.parse(text))
    except (TypeError, ValueError) as error:
        raise UserError(f"the universal checkpoint cannot be written: {error}") from None
    return header, text


def read_universal_file(path: Path) -> Contents:
    """What ``write_universal_file`` wrote, on the CPU.

    Errors: UserError, of one line, for a file that is missing, damaged, of a newer format, or in any way not what its
    metadata say.
    """
    if path.is_dir():
        path = path / FILE_NAME
    if not path.is_file():
        raise UserError(f"no such file: {path}; expected a universal checkpoint ({FILE_NAME})")
    text, tensors = _opened(path)
    try:
        values = facts.parse(text)
    except ValueError as error:
        raise UserError(f"{path} is no universal checkpoint: its metadata are no JSON: {error}") from None
    version = values.pop("format", None)
    if isinstance(version, int) and version > FORMAT:
        raise UserError(f"{path} has format {version}, newer than {FORMAT}, the newest known here; update this program")
    if version not in READABLE or isinstance(version, bool):
        known = " or ".join(map(str, READABLE))
        raise UserError(f"{path} is no universal checkpoint of format {known}: its format is {str(version)[:60]}")
    try:
        return _checked(values, text, tensors, version)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _opened(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The JSON text of the metadata, and the tensors."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
        tensors = load_file(path) if text else {}
    except (safetensors.SafetensorError, OSError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path} is no universal checkpoint: {' '.join(str(error).split())[:200]}") from None
    if not text:
        raise UserError(f"{path} is no universal checkpoint: a safetensors file without the key '{KEY}'")
    return text, tensors


def _checked(values: dict, text: str, tensors: dict[str, Tensor], version: int) -> Contents:
    facts.check(values)
    state = {name: t for name, t in tensors.items() if name.startswith(WEIGHTS)}
    stored = {name: t for name, t in tensors.items() if name.startswith(STATISTICS)}
    checksum, weights = values.pop("checksum", None), values.pop("weights_sha256")
    backbone, projector = _skeleton(values)
    shapes = {name: t.shape for name, t in network_state(backbone, projector).items()}
    _check_tensors(state, shapes, DTYPES)
    wanted = _statistics_shapes(backbone, projector, calibrated(backbone, values))
    _check_tensors({n: t for n, t in tensors.items() if n not in state}, wanted, (torch.float32,))
    if weights_hash(state) != weights:
        raise UserError("the weights are not those that the statistics were calibrated for; calibrate anew")
    if version > 1 and (checksum is None or _digest(stored, f"{_without(text, checksum)}\n") != checksum):
        raise UserError("its statistics or metadata are damaged: their checksum does not hold")
    _check_numbers(tensors)
    for prefix, module in zip(WEIGHTS, (backbone, projector), strict=True):
        if module is not None:
            # a copy, as torch allocates: libraries compute other last bits with tensors that a file has put anywhere
            part = {n.removeprefix(prefix): t.clone() for n, t in state.items() if n.startswith(prefix)}
            module.load_state_dict(part, assign=True)
    values.pop("projector", None)
    return Contents(backbone, projector, values, _by_key({name: t.clone() for name, t in stored.items()}))


def _without(text: str, checksum: str) -> str:
    """The text that ``checksum`` was computed of: with zeros in its place."""
    return text.replace(checksum, EMPTY)


def _skeleton(values: dict) -> tuple[SlimBackbone, Head | None]:
    """The modules that the metadata describe, without memory for their weights."""
    try:
        with shapes_only():
            backbone = create_backbone(**values["backbone"])
            head = values.get("projector")
            return backbone, Head(**head) if head else None
    except UserError as error:
        raise UserError(f"its metadata describe no backbone: {error}") from None
    except (TypeError, ValueError, RuntimeError, OverflowError, ArithmeticError) as error:
        raise UserError(f"its metadata describe no backbone: {' '.join(str(error).split())[:200]}") from None


def _statistics_shapes(
    backbone: SlimBackbone, projector: Head | None, widths: list[float]
) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of the statistics of ``widths``."""
    plans = {channels.key: channels for channels in map(backbone.channels, widths)}
    shapes = {}
    for key, channels in plans.items():
        with shapes_only():
            plain = backbone.plain(channels).state_dict()
        means = {name: f"{name}.running_mean" for name in batch_norms(backbone)}  # private sets are no layers
        layers = {name: plain[mean].shape for name, mean in means.items() if mean in plain}
        if projector is not None:
            sizes = projector.arguments["sizes"]
            layers |= {f"projector.norms.{i}": (size,) for i, size in enumerate(sizes[1:-1])}
            layers |= {"projector.final_norm": (sizes[-1],)} if projector.final_norm is not None else {}
        for layer, shape in layers.items():
            shapes |= {f"{STATISTICS}{key}/{layer}.{what}": shape for what in ("mean", "var")}
    return shapes


def _check_tensors(tensors: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], dtypes: tuple) -> None:
    """UserError unless names and shapes are the expected ones and all number formats one of ``dtypes``."""
    for kind, names in (("lacks", shapes.keys() - tensors.keys()), ("has unexpected", tensors.keys() - shapes.keys())):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"it {kind} {min(names)[:120]}{more}")
    for name, tensor in tensors.items():
        if tensor.shape != tuple(shapes[name]):
            raise UserError(f"{name} has the shape {list(tensor.shape)}, expected {list(shapes[name])}")
        if tensor.dtype not in dtypes or tensor.dtype != next(iter(tensors.values())).dtype:
            expected = " or ".join(str(d).removeprefix("torch.") for d in dtypes)
            raise UserError(f"{name} is {str(tensor.dtype).removeprefix('torch.')}, expected {expected}, all alike")


def _check_numbers(tensors: dict[str, Tensor]) -> None:
    """UserError for a number that is not finite, or a variance below 0."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(f"{name} holds a number that is not finite")
        if name.startswith(STATISTICS) and name.endswith(".var") and (tensor < 0).any():
            raise UserError(f"{name} holds a variance below 0")


def _by_key(stored: dict[str, Tensor]) -> dict[str, LayerMoments]:
    """``statistics.<key>/<layer>.mean|.var`` back to key -> layer -> (mean, variance)."""
    found: dict[str, LayerMoments] = {}
    for name, mean in stored.items():
        if name.endswith(".mean"):
            stem = name.removesuffix(".mean")
            key, _, layer = stem.removeprefix(STATISTICS).partition("/")
            found.setdefault(key, {})[layer] = (mean, stored[f"{stem}.var"])
    return found
