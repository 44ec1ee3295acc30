"""``status``, ``logs``, ``cancel`` and ``retry`` of a grid's folder."""

import argparse
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from pretrain.common.errors import UserError
from pretrain.common.repository import ROOT
from slurm.attempts import note
from slurm.folder import JOB, Entry, job_of, local_lives, read_folder, standings
from slurm.grid.graph import expand
from slurm.launch import carry_out
from slurm.presets import Preset, list_presets, load_preset
from slurm.status import log_files, status_table, watch_header
from slurm.submit import on_machine, only_one, to_submit

CODE = re.compile(r"[^\s=:]+\.(?:py|ya?ml|pkl|pth?)\b")  # what executes when it is read
ATTRIBUTE = re.compile(r"[^=]+=\W*([A-Za-z_][\w.]*):[A-Za-z_]\w*")  # key=module:attribute, which is imported and called
MODELS = ("timm", "torchvision")  # before the names of teachers
TRUST = "--trust"


def status(arguments: argparse.Namespace) -> None:
    """Print the table, with ``--watch`` until no job is active."""
    entries, _ = read_folder(arguments.folder)
    entries = chosen_entries(entries, arguments.names)
    if not arguments.watch:
        console = Console()
        console.width = console.width if console.is_terminal else 10_000  # a file or a pipe wraps nothing
        console.print(Group(status_table(entries), watch_header(standings(entries))))
        return
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            found = standings(entries)
            live.update(Group(status_table(entries), watch_header(found)), refresh=True)
            if not any(standing.active for standing in found.values()):
                return
            time.sleep(arguments.interval)


def logs(arguments: argparse.Namespace) -> None:
    """Print the ends of the logs of the jobs that ``names`` name, or of all that failed or run."""
    entries, _ = read_folder(arguments.folder)
    found = standings(entries)
    if arguments.names:
        entries = chosen_entries(entries, arguments.names)
    elif len(entries) > 1:
        entries = [e for e in entries if found[e.name].name not in ("done", "missing", "pending")]
    files = [path for entry in entries for path in log_files(entry) if path.stat().st_size]
    if not files:
        raise UserError(f"no job of {arguments.folder} has printed anything yet, or failed; name one to see its log")
    for path in files:
        print(f"==> {path}")
        if not arguments.dry_run:
            print("\n".join(path.read_text(errors="replace").splitlines()[-arguments.lines :]), flush=True)
    if arguments.follow and not arguments.dry_run:
        follow(files[0], entries[0])


def follow(path: Path, entry: Entry) -> None:
    """Print what is added to a file until its job has ended."""
    with open(path, errors="replace") as file:
        file.seek(0, os.SEEK_END)
        while True:
            text = file.read()
            if text:
                print(text, end="", flush=True)
            elif not standings([entry])[entry.name].active:
                return
            else:
                time.sleep(2)


def cancel(arguments: argparse.Namespace) -> None:
    """End the active jobs."""
    entries, launched = read_folder(arguments.folder)
    entries = chosen_entries(entries, arguments.names)
    found = standings(entries)
    active = [entry for entry in entries if found[entry.name].active]
    for entry in active:
        print(f"{'would cancel' if arguments.dry_run else 'cancelling'} {entry.name}: job {found[entry.name].job}")
    if not arguments.dry_run and launched.preset.executor == "local":
        for entry in entries:  # what waits for its turn here, too
            if found[entry.name].name != "done":
                note(entry.path, "cancelled")
    if arguments.dry_run or not active:
        print(f"{len(active)} active jobs")
        return
    jobs = [job_of(entry) for entry in active]
    numbers = [job["job"] for job in jobs if job["executor"] == "slurm"]
    if numbers:
        done = subprocess.run(["scancel", *numbers], capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"scancel: {done.stderr.strip()}")
    for job in jobs:
        if job["executor"] == "local" and local_lives(job):
            os.kill(int(job["job"]), signal.SIGINT)


def retry(arguments: argparse.Namespace) -> None:
    """Submit what failed, died or was cancelled once more, with everything that needs it."""
    from slurm.grid.determined import check_unchanged  # with torch, which --help need not wait for

    entries, launched = read_folder(arguments.folder)
    preset, found = launched.preset, standings(entries)
    if not arguments.trust:
        check_own(entries, preset, arguments.folder)
    chosen = to_submit(entries, found)
    if arguments.names:
        names = {entry.name for entry in chosen_entries(entries, arguments.names)}
        for entry in entries:  # in order: parents before children
            if names & set(entry.needs):
                names.add(entry.name)
        chosen = [entry for entry in chosen if entry.name in names]
        for entry in chosen:
            for need in entry.needs:
                if need not in names and found[need].name != "done" and not found[need].active:
                    raise UserError(f"'{entry.name}' needs '{need}', which {found[need].name}; retry that too")
    for entry in chosen:
        check_unchanged(entry.node, on_machine(entry.node, preset))
    for entry in chosen:
        print(f"{'would retry' if arguments.dry_run else 'retrying'} {entry.name} ({found[entry.name].name})")
    if arguments.dry_run:
        return
    folder = Path(arguments.folder).absolute()
    with only_one(Path(launched.store or folder)):  # as the launch: grids share what lies there
        carry_out(entries, chosen, launched, folder)


def check_own(entries: list[Entry], preset: Preset, folder: Path) -> None:
    """UserError for what ``grid.json`` would execute that is none of this repository's, or replace that is no job's: it
    may be a stranger's."""
    words = [word for entry in entries for word in entry.node.command.argv()[2:]]
    files = (match[0] for word in words for match in CODE.finditer(word))
    foreign = [file for file in files if not Path(file).resolve().is_relative_to(ROOT)]
    foreign += [word for word in words if names_foreign(word)]
    own = [load_preset(name) for name in list_presets()]
    for key in ("setup", "environment", "sbatch"):
        value = getattr(preset, key)
        if value and value not in [getattr(one, key) for one in own]:
            foreign.append(f"{key} {value}")
    for entry in entries:
        results = entry.path / "results"
        if entry.node.collect and results.exists() and not (entry.path / JOB).exists():
            raise UserError(
                f"{folder} would replace {results}, which no job of a grid made; expected --trust if it may"
            )
    if foreign:
        raise UserError(f"{folder} would run {foreign[0]}, which is not of this repository; expected --trust if it is")


def names_foreign(word: str) -> bool:
    """Whether a word makes a tool call what a module of others holds, or trust files as only a person may."""
    if len(word) > 2 and TRUST.startswith(word.partition("=")[0]):  # a parser takes any beginning of an option
        return True
    match = ATTRIBUTE.match(word)
    if match is None or match[1] in MODELS:
        return False
    place = ROOT.joinpath(*match[1].split("."))
    return not (place.is_dir() or place.with_suffix(".py").is_file())


def chosen_entries(entries: list[Entry], names: list[str]) -> list[Entry]:
    """The entries that ``names`` name, all of them without any."""
    if not names:
        return entries
    wanted = set(expand([entry.name for entry in entries], names))
    return [entry for entry in entries if entry.name in wanted]
