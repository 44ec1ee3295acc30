"""What a grid file (``configs/grids/*.py``) may say; ``definition.py`` makes a graph of it."""

from dataclasses import dataclass, field
from pathlib import Path

from pretrain.configfile import read_python
from pretrain.slimmable.widths import FOUR_WIDTHS
from slurm.settings import read

EXTRA = {"extra": "forbid"}


@dataclass(frozen=True)
class Pretraining:
    """config: FILE.py or FILE.py:ROW, from the repository's root, or a pattern of them. widths: one training of each by
    itself, called NAME-w0.5. teacher: a pretraining whose universal checkpoint ``teacher_key`` of the config is set to.
    nodes, gpus (per node), tasks (per node without GPUs): its processes; by default as many GPUs of one node as the
    config's chunks can be dealt to.
    """

    __pydantic_config__ = EXTRA

    config: str
    overrides: tuple[str, ...] = ()
    widths: tuple[float, ...] = ()
    teacher: str | None = None
    teacher_key: str = "objective.teacher"
    nodes: int = 1
    gpus: int | None = None
    tasks: int = 1
    hours: float | None = None


@dataclass(frozen=True)
class Transfer:
    """One job for each pretraining in ``of`` (patterns of names), width in its range, seed, init and framework.

    target, arguments: of ``tools/transfer.py``. convert: whether a job converts the backbones first; by default for
    detection, so that a checkpoint that cannot be cut out fails before a GPU is asked for.
    """

    __pydantic_config__ = EXTRA

    of: tuple[str, ...] | str
    target: str
    widths: tuple[float, ...] = FOUR_WIDTHS
    seeds: tuple[int, ...] = (0,)
    inits: tuple[str, ...] = ("pretrained",)
    frameworks: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    convert: bool | None = None
    gpus: int | None = None
    hours: float | None = None


@dataclass(frozen=True)
class Table:
    """``tools/tables.py`` over every transfer of the grid. formats: of its --format."""

    __pydantic_config__ = EXTRA

    table: str
    formats: tuple[str, ...] = ("markdown",)
    paper: bool = True
    plot: bool = False


@dataclass(frozen=True)
class Grid:
    """A grid file; include: other grid files, from this one's folder."""

    __pydantic_config__ = EXTRA

    pretrain: dict[str, Pretraining] = field(default_factory=dict)
    transfer: tuple[Transfer, ...] = ()
    tables: tuple[Table, ...] = ()
    include: tuple[str, ...] = ()


def read_grid(path: Path) -> Grid:
    """A grid file, checked. mmengine's config language: python, with ``_base_`` for inheritance."""
    return read(Grid, read_python(path, "grid"), str(path))
