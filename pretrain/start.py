"""Where a run begins: at 0, or after the newest whole checkpoint of its folder; what must hold before it does."""

import shutil
from pathlib import Path
from typing import NamedTuple

import torch

from pretrain.common.errors import UserError
from pretrain.common.files import remove_abandoned, write_json
from pretrain.run.checkpoint import KEEP, load_checkpoint, newest_checkpoint, resumable_checkpoint, understood
from pretrain.run.distributed import World, same_in_all
from pretrain.run.reporting import Interval
from pretrain.trainer import Trainer
from pretrain.universal import FILE_NAME

FIELDS = {
    "model": dict, "optimizer": dict, "scaler": dict, "config.backbone": dict, "config.training": dict,
    "iterations": int, "threads": int, "world_size": int,
}  # fmt: skip


class LastGood(NamedTuple):
    """A checkpoint and what it holds."""

    path: Path
    state: dict


def find(work_dir: Path, resume: bool, world: World) -> LastGood | None:
    """The checkpoint to continue from, None to start anew.

    Errors: UserError for a folder whose content would be lost: a run that nobody asked to resume, one of which only
    damaged checkpoints are left, a universal checkpoint without the run that made it.
    """
    folder = work_dir / "checkpoints"
    if world.is_main:
        remove_abandoned(work_dir)
        remove_abandoned(folder)
    if any(folder.glob("*.pt")) and not resume:
        raise UserError(f"{work_dir} holds a run already; expected --resume to continue it, or another --work-dir")
    newest = resumable_checkpoint(folder)
    if newest is None and (work_dir / FILE_NAME).exists():
        raise UserError(
            f"{work_dir} holds a {FILE_NAME} without the checkpoints of its run, which a new run would replace; "
            "expected another --work-dir"
        )
    return None if newest is None else LastGood(newest, load_checkpoint(newest, world.device, FIELDS))


def begin(trainer: Trainer, work_dir: Path, found: LastGood | None) -> tuple[int, Interval]:
    """Load what was found, say how the run goes on, and return the number of iterations that are done and what was
    seen since the last line of the log."""
    world = trainer.world
    start, interval = (0, Interval()) if found is None else take_up(trainer, found)
    if not same_in_all(start, world):
        raise UserError(f"processes found different checkpoints in {work_dir}; expected a folder that all of them see")
    if world.is_main:
        check_space(work_dir, trainer.state_bytes())
        write_json(work_dir / "config.json", trainer.resolved())
        where = f"continuing at iteration {start} from {found.path}" if found else "starting"
        training, data = trainer.config.training, trainer.config.data
        kernels = "" if world.device.type == "cpu" else "non-" * (not training.deterministic) + "deterministic, "
        print(
            f"{where}: {trainer.config.method} {trainer.config.backbone} "
            f"on {data.name} at {data.image_size} px, {trainer.iterations} iterations of {training.batch_size} images, "
            f"{trainer.precision}, {world.size} process(es) on {world.device}, "
            f"{torch.get_num_threads()} threads, {kernels}in {work_dir}",
            flush=True,
        )
        if trainer.model.teacher is not None:
            print(f"teacher: {trainer.model.teacher}", flush=True)
        if trainer.continued and start == trainer.continued[-1]:
            print(longer(trainer, start), flush=True)
    return start, interval


def take_up(trainer: Trainer, found: LastGood) -> tuple[int, Interval]:
    """Load what was found. UserError, with the file's name, for what is not of such a run."""
    with understood(found.path):
        start, iterations = found.state["iteration"], found.state["iterations"]
        if start > iterations:
            raise UserError(f"the checkpoint is of iteration {start} of {iterations}")
        trainer.load(found.state)
        return start, Interval(found.state.get("interval"))


def longer(trainer: Trainer, start: int) -> str:
    """What it means for a finished run to go on."""
    before = trainer.lr_at(start - 1, start)
    return (
        f"finished at {start} iterations, going on to {trainer.iterations}: learning rate, momentum, alpha and widths "
        f"follow the schedule of {trainer.iterations} iterations from here on (learning rate {before:.3g} -> "
        f"{trainer.lr_at(start, trainer.iterations):.3g}, smallest width {trainer.sampler.smallest(start):g}), "
        f"so it will not be what {trainer.iterations} iterations from the start would be"
    )


def check_space(folder: Path, size: int) -> None:
    """UserError if the checkpoints of a run, of ``size`` bytes each, have no room on the disk."""
    present = sum(path.stat().st_size for path in (folder / "checkpoints").glob("*.pt"))
    missing, free = (KEEP + 1) * size - present, shutil.disk_usage(folder).free
    if free < missing:
        raise UserError(
            f"{free / 1e6:.0f} MB are free in {folder}; expected {missing / 1e6:.0f} MB for {KEEP + 1} checkpoints"
        )


def last_good(work_dir: Path) -> str:
    """The newest whole checkpoint in words."""
    return str(newest_checkpoint(work_dir / "checkpoints") or "none")
