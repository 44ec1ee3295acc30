"""What a grid file (``configs/grids/*.py``) may say; ``definition.py`` makes a graph of it."""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pretrain.common.settings import Count, PositiveFloat, PositiveInt, Seed, read, settings
from pretrain.configfile import read_python
from pretrain.slimmable.widths import FOUR_WIDTHS, Width
from transfer.targets import FRAMEWORKS

SOME = Field(min_length=1)


@settings
class PretrainingRow:
    """config: FILE.py or FILE.py:ROW, from the repository's root, or a pattern of them. widths: one training of each by
    itself, called NAME-w0.5. teacher: a pretraining whose universal checkpoint ``teacher_key`` of the config is set to.
    nodes, gpus (per node), tasks (per node without GPUs): its processes; by default as many GPUs of one node as the
    config's chunks can be dealt to.
    """

    config: str
    overrides: tuple[str, ...] = ()
    widths: tuple[Width, ...] = ()
    teacher: str | None = None
    teacher_key: str = "objective.teacher"
    nodes: PositiveInt = 1
    gpus: Count | None = None
    tasks: PositiveInt = 1
    hours: PositiveFloat | None = None


@settings
class TransferRow:
    """One job for each pretraining in ``of`` (patterns of names), width in its range, seed, init and framework.

    target, arguments: of ``tools/transfer.py``. convert: whether a job converts the backbones first; by default for
    detection, so that a checkpoint that cannot be cut out fails before a GPU is asked for.
    """

    of: Annotated[tuple[str, ...], SOME] | str
    target: str
    widths: Annotated[tuple[Width, ...], SOME] = FOUR_WIDTHS
    seeds: Annotated[tuple[Seed, ...], SOME] = (0,)
    inits: Annotated[tuple[Literal["pretrained", "random"], ...], SOME] = ("pretrained",)
    frameworks: tuple[Literal[tuple(FRAMEWORKS)], ...] = ()
    arguments: tuple[str, ...] = ()
    convert: bool | None = None
    gpus: Count | None = None
    hours: PositiveFloat | None = None


@settings
class TableRow:
    """``tools/tables.py`` over every transfer of the grid and of those that it includes. formats: of its --format."""

    table: str
    formats: Annotated[tuple[str, ...], SOME] = ("markdown",)
    paper: bool = True
    plot: bool = False


@settings
class Grid:
    """A grid file; include: other grid files, from this one's folder."""

    pretrain: dict[str, PretrainingRow] = field(default_factory=dict)
    transfer: tuple[TransferRow, ...] = ()
    tables: tuple[TableRow, ...] = ()
    include: tuple[str, ...] = ()


def read_grid(path: Path) -> Grid:
    """A grid file, checked. mmengine's config language: python, with ``_base_`` for inheritance."""
    return read(Grid, read_python(path, "grid"), str(path))
