"""An entry of a grid that many tests share."""

from pathlib import Path

from slurm.folder import Entry
from slurm.grid.graph import Command, Node


def entry(name: str, needs: tuple = (), kind: str = "transfer", path: Path | None = None, **changes) -> Entry:
    """A transfer of nothing, its node changed by ``changes``."""
    values = dict(
        name=name, kind=kind, settings={}, command=Command("tools/transfer.py", "coco"), flops=1.0, disk=1.0,
        data="coco", framework="detectron2",
    )  # fmt: skip
    return Entry(Node(**{**values, **changes}), "a" * 64, path or Path(f"/runs/{name}"), needs)
