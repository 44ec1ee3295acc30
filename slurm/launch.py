"""One launch: place a graph, say what it costs, check the cluster, submit what is missing."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pretrain.common.errors import UserError
from pretrain.common.files import read_object
from pretrain.common.repository import ROOT
from slurm.cluster import check_cluster
from slurm.data import check_data
from slurm.folder import FILE_NAME, JOB, Entry, Launched, Standing, earlier, place, read_folder, standings, write_grid
from slurm.grid.graph import Graph
from slurm.local import run_here
from slurm.plan import changed, show_plan
from slurm.presets import Preset
from slurm.submit import groups, on_machine, only_one, script_text, submit, to_submit


@dataclass(frozen=True)
class Launch:
    """graph: what to compute. folder: of the launch. store: of the results. folders: of results that lie elsewhere."""

    graph: Graph
    folder: Path
    store: Path
    preset: Preset
    relaunch: str
    folders: dict[str, Path]


def launch(order: Launch, dry_run: bool) -> None:
    """Print the plan; then, unless ``dry_run``, submit what has no result and no live job.

    Errors: UserError, before anything is submitted; a local job that failed.
    """
    entries = place(order.graph, order.store, order.folders)
    check_folders(entries)
    found = standings(entries)
    chosen = to_submit(entries, found)
    old = read_folder(order.folder)[0] if (order.folder / FILE_NAME).is_file() else []
    for name in changed(old, entries):
        print(f"changed since the last launch: {name}")
    check_data([entry.node for entry in chosen], order.preset)
    show_plan(entries, chosen, found, order.preset)
    if dry_run:
        show_scripts(chosen, found, order.preset, order.folder)
        return
    with only_one(order.store):
        launched = Launched(order.preset, order.relaunch, str(order.store))
        carry_out(entries, chosen, launched, order.folder)


def carry_out(entries: list[Entry], chosen: list[Entry], launched: Launched, folder: Path) -> None:
    """Write the grid's folder and submit ``chosen``; on this machine, run them."""
    preset, relaunch = launched.preset, launched.relaunch
    if chosen and preset.executor == "slurm":
        most = max(entry.node.nodes for entry in chosen)
        check_cluster(preset.partition, folder, most, preset.shared)
    found = standings(entries)  # under the lock: another launch may have submitted some meanwhile
    chosen = to_submit(entries, found, {entry.name for entry in chosen})
    write_grid(folder, [*entries, *earlier(folder, entries)], launched)
    if not chosen:
        print("nothing to submit")
    elif preset.executor == "local":
        failed = run_here(entries, chosen, found, preset, folder, relaunch)
        if failed:
            raise UserError(
                f"{len(failed)} of {len(chosen)} jobs failed, first {failed[0]}; see launch.py status {folder}"
            )
    else:
        report(chosen, submit(chosen, found, preset, folder, relaunch))
    print(f"folder: {folder}  ({shlex.join([str(ROOT / 'tools/launch.py'), 'status', str(folder), '--watch'])})")
    print(f"again: {relaunch}")


def report(chosen: list[Entry], jobs: dict[str, str]) -> None:
    """Print the number and the logs of each job."""
    for entry in chosen[:40]:
        print(f"{entry.name}: job {jobs[entry.name]}, log: {read_object(entry.path / JOB)['stdout']}")
    if len(chosen) > 40:
        print(f"… and {len(chosen) - 40} more")


def show_scripts(chosen: list[Entry], found: dict[str, Standing], preset: Preset, folder: Path) -> None:
    """Print the sbatch script of each group, with names where the numbers of jobs will be."""
    waiting = {entry.name for entry in chosen} | {name for name, standing in found.items() if standing.active}
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for number, group in enumerate(groups(chosen, waiting)):
        needs = sorted({found[n].job or f"<{n}>" for entry in group for n in entry.needs if n in waiting})
        if preset.executor == "slurm":
            console.print(f"\n# sbatch {group[0].name}" + (f" and {len(group) - 1} like it" if len(group) > 1 else ""))
            console.print(script_text(group, preset, folder / "jobs" / f"us3l-{number}", needs))
        for entry in group:
            console.print(f"# {entry.name}: {shlex.join(on_machine(entry.node, preset).argv())}")
    console.print("dry run: nothing was submitted")


def check_folders(entries: list[Entry]) -> None:
    """UserError for a folder that holds the result or the job of something else."""
    for entry in entries:
        for name in (JOB, "done.json"):
            other = read_object(entry.path / name).get("hash", entry.hash)
            if other != entry.hash:
                raise UserError(f"{entry.path} holds another run (its settings differ); use another --work-dir")
