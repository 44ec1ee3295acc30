"""Plans: channels of each stage in place of one width for all, e.g. ``r18-24.40.64.160``."""

import json
import re
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.widths import Plan

NAME = re.compile(r"(\w+)-(\d{1,6}(?:\.\d{1,6})+)")


def short_name(backbone: SlimBackbone) -> str:
    """How plans call their backbone, e.g. ``r18``."""
    return re.sub("^resnet", "r", backbone.arguments["name"])


def bounds(backbone: SlimBackbone, low: float, high: float) -> list[tuple[int, int]]:
    """The fewest and the most channels of each stage in a range of widths.

    Errors: UserError for a backbone whose stages cannot differ.
    """
    if not backbone.stage_channels:
        name = backbone.arguments["name"]
        raise UserError(
            f"{name} has no plans by stage; expected a ResNet without private norms, MobileNetV2 or ConvNeXt V2"
        )
    return backbone.stage_bounds(low, high)


def plan(backbone: SlimBackbone, stages: tuple[int, ...], low: float, high: float) -> Plan:
    """The plan of these channels. Errors: UserError for channels beyond those of the widths ``low`` to ``high``."""
    limits, name = bounds(backbone, low, high), f"{short_name(backbone)}-{'.'.join(map(str, stages))}"
    if len(stages) != len(limits):
        raise UserError(f"plan {name} has {len(stages)} stages; expected {len(limits)}")
    for number, (count, (fewest, most)) in enumerate(zip(stages, limits), 1):
        if not fewest <= count <= most:
            raise UserError(f"plan {name}: stage {number} has {count} channels; expected {fewest} to {most}")
    share = sum(count / full for count, full in zip(stages, backbone.stage_channels)) / len(stages)
    return Plan(name, tuple(stages), min(max(share, low), high))


def named_plan(backbone: SlimBackbone, name: str, low: float, high: float) -> Plan:
    """The plan of this name. Errors: UserError for what is no plan of this backbone."""
    found = NAME.fullmatch(name)
    if found is None or found[1] != short_name(backbone):
        expected = (
            f"{short_name(backbone)}-{'.'.join(map(str, backbone.stage_channels))}"
            if backbone.stage_channels
            else "a number"
        )
        raise UserError(
            f"{name[:80]!r} is no width and no plan of {backbone.arguments['name']}; expected e.g. {expected}"
        )
    return plan(backbone, tuple(map(int, found[2].split("."))), low, high)


def read_plan(backbone: SlimBackbone, text: str, low: float, high: float) -> Plan:
    """The plan that ``text`` names, or the file that holds its name, alone or as ``plan`` of a JSON object.

    Errors: UserError for a file without one, and as ``named_plan``.
    """
    return named_plan(backbone, _content(Path(text)) if Path(text).is_file() else text, low, high)


def calibrated(backbone: SlimBackbone, metadata: dict) -> list[float]:
    """The widths and plans that a universal checkpoint says it has statistics of."""
    record, limits = metadata["calibration"], metadata["width_range"]
    return [*record["widths"], *(named_plan(backbone, name, *limits) for name in record.get("plans", []))]


def _content(path: Path) -> str:
    try:
        text = path.read_text().strip()
        return str(json.loads(text)["plan"]) if text.startswith("{") else text
    except (OSError, ValueError, LookupError) as error:
        raise UserError(f"{path} holds no plan: {' '.join(str(error).split())[:160]}") from None
