"""A device that is not this machine: a folder of models with a script that times them there, and its times back."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import write_json
from pretrain.plain.cost import image_channels
from transfer.convert import convert
from transfer.convert.int8 import Int8
from transfer.devices import time_models
from transfer.devices.choose import candidates, probes
from transfer.devices.variants import INT8, is_int8, runtime_of
from transfer.results import settings_hash
from transfer.runtimes import RUNTIMES
from transfer.source import Source

SCRIPT = Path(time_models.__file__)


def write_models(source: Source, variant: str, image_size: int, folder: Path, int8: Int8 | None = None) -> list[Path]:
    """The script, first, and the plan of the models that it times. Their weights are random, which changes no time, so
    that their descriptions name no checkpoint.

    int8: of an eight-bit variant. Errors: UserError for a runtime that the script does not know.
    """
    runtime = runtime_of(variant)
    if runtime not in time_models.LOADERS:
        known = ", ".join(time_models.LOADERS)
        raise UserError(
            f"{runtime} needs torch, or an application, to be timed; expected {known} for a device elsewhere"
        )
    fitted, held = probes(candidates(source))
    backbone, files, shape = source.net.backbone, {}, []
    for width in [*fitted, *held]:
        plain = backbone.plain(backbone.channels(width)).eval()
        shape = [1, image_channels(plain), image_size, image_size]
        said = {**source.metadata, "width": width, "export_size": image_size}
        eight = int8 if is_int8(variant) else None
        main = convert(plain, RUNTIMES[runtime], folder / f"width_{width:g}", said, int8=eight)[0]
        files[f"{width:g}"] = str(main.relative_to(folder))
    shutil.copyfile(SCRIPT, folder / SCRIPT.name)
    variant = f"{runtime}{INT8}" if is_int8(variant) else runtime
    plan = {"runtime": runtime, "variant": variant, "image_size": image_size, "shape": shape, "weights": "random",
            "files": files, "network": network_of(source)}  # fmt: skip
    return [folder / SCRIPT.name, write_json(folder / "models.json", plan)]


def network_of(source: Source) -> str:
    """The backbone's name, and a digest of all that ``create_backbone`` is given: what times are of."""
    return f"{source.backbone} {settings_hash(source.architecture)[:10]}"


def read_times(path: Path, needed: Sequence[float], variant: str, image_size: int, network: str) -> dict[float, float]:
    """Median milliseconds by width from the script's CSV. network: ``network_of`` the source.

    Errors: UserError unless it has every width of ``needed``, of this network, variant and size.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = {float(row["width"]): float(row["median"]) for row in rows}
        told = {(row["runtime"], int(row["image_size"])) for row in rows}
        networks = {row["network"] for row in rows}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds no times: {error}; expected the times.csv that {SCRIPT.name} writes") from None
    if other := told - {(variant, image_size)}:
        runtime, size = min(other)
        raise UserError(f"{path} has times of {runtime} at {size} px; expected {variant} at {image_size} px")
    if networks - {network}:
        raise UserError(f"{path} has times of {min(networks - {network})}; expected {network}, as --models writes it")
    missing = [f"{width:g}" for width in needed if width not in found]
    if missing:
        raise UserError(f"{path} has no times of width {', '.join(missing)}; expected those of --models' folder")
    if bad := [width for width in found if not found[width] > 0]:
        raise UserError(f"{path}: {found[bad[0]]:g} ms at width {bad[0]:g}; expected a time above 0")
    return found
