"""A grid's folder: ``grid.json`` with every job's command and place, and what has become of each.

Results lie in folders of their own, which grids share; each holds ``job.json`` (who computes it), ``done.json`` or
``failed.json``, and ``attempts.jsonl``.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import read_object, write_json
from pretrain.common.settings import read
from pretrain.run.ownership import owner_lives
from slurm.attempts import cancelled, events
from slurm.cluster import State, states
from slurm.grid.graph import OWN, Graph, Node
from slurm.jobs import DONE, FAILED
from slurm.presets import Preset

FILE_NAME = "grid.json"
JOB = "job.json"
KEYS = {"hash": str, "job": str, "title": str, "executor": str, "submission": str, "time": float | int}  # of it


@dataclass(frozen=True)
class Entry:
    """A node of a grid, placed: ``node`` names folders in its command and in ``collect``, ``path`` is its own.

    needs: names of entries that must have succeeded before.
    """

    node: Node
    hash: str
    path: Path
    needs: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(frozen=True)
class Standing:
    """What has become of an entry. name: ``done``, ``failed``, ``dead`` (it ran, and is gone without a word),
    ``missing``, or SLURM's state in small letters. reason: why it failed or waits."""

    name: str
    job: str = ""
    nodes: str = ""
    reason: str = ""
    active: bool = False


@dataclass(frozen=True)
class Launched:
    """How a grid was launched, for ``retry``. relaunch: the command. store: the folder of results, which launches lock;
    empty where nobody has said it."""

    preset: Preset
    relaunch: str
    store: str = ""


def place(graph: Graph, store: Path, folders: dict[str, Path] | None = None) -> list[Entry]:
    """The graph's nodes as entries, their results below ``store``, or where ``folders`` says."""
    folders = {name: (folders or {}).get(name, graph.folder(name, store)).absolute() for name in graph.hashes}
    entries = []
    for name, node in graph.nodes.items():
        command = node.command.resolved({**folders, OWN: folders[name]})
        placed = replace(node, command=command, collect=tuple(dict.fromkeys(str(folders[n]) for n in node.collect)))
        entries.append(Entry(placed, graph.hashes[name], folders[name], tuple(graph.needs(name))))
    return entries


def earlier(folder: Path, entries: list[Entry]) -> list[Entry]:
    """What other launches into the grid's folder have submitted and ``entries`` do not have, by name.

    What needs a result that was replaced by another of its name is replaced as well.
    """
    if not (folder / FILE_NAME).is_file():
        return []
    before, _ = read_folder(folder)
    old, known, kept = {entry.name: entry.path for entry in before}, {entry.name: entry.path for entry in entries}, []
    for entry in before:  # in order: parents before children
        if entry.name not in known and all(known.get(need) == old.get(need) for need in entry.needs):
            known[entry.name] = entry.path
            kept.append(entry)
    return kept


def write_grid(folder: Path, entries: list[Entry], launched: Launched) -> None:
    """Write ``grid.json``."""
    values = [{**asdict(entry), "path": str(entry.path)} for entry in entries]
    write_json(folder / FILE_NAME, {"options": asdict(launched), "entries": values})


def read_folder(folder: Path) -> tuple[list[Entry], Launched]:
    """The entries of a grid's folder, and how it was launched.

    Errors: UserError if it is none, or its jobs are none that this project makes.
    """
    path = Path(folder) / FILE_NAME if Path(folder).is_dir() else Path(folder)
    try:
        values = read_object(path)
        entries, options = list(values["entries"]), dict(values["options"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{folder} is no folder that tools/launch.py made: it holds no {FILE_NAME}") from None
    entries = [read(Entry, entry, f"{path}: job {number}") for number, entry in enumerate(entries)]
    return entries, read(Launched, options, str(path))


def job_of(entry: Entry) -> dict:
    """Who computes the entry: ``job``, ``title`` (SLURM's name of it), ``executor``, …; empty if nobody."""
    record = read_object(entry.path / JOB)
    whole = all(isinstance(record.get(key), kind) for key, kind in KEYS.items())
    return record if whole and record["hash"] == entry.hash else {}


def standings(entries: Iterable[Entry]) -> dict[str, Standing]:
    """What has become of every entry: squeue is asked first, then sacct, then what is on disk."""
    entries = list(entries)
    jobs = {entry.name: job_of(entry) for entry in entries}
    asked = {job["job"]: job["title"] for job in jobs.values() if job.get("executor") == "slurm"}
    known = states(asked)
    return {entry.name: standing(entry, jobs[entry.name], known.get(jobs[entry.name].get("job"))) for entry in entries}


def standing(entry: Entry, job: dict, state: State | None) -> Standing:
    """The entry's standing by its job's ``state`` (None if SLURM knows nothing of it) and by its folder."""
    number = job.get("job", "")
    if state is not None and state.is_active:
        return Standing(state.name.lower(), number, state.nodes, state.reason, active=True)
    if read_object(entry.path / DONE).get("hash") == entry.hash:
        return Standing("done", number, state.nodes if state else "")
    if not job:
        return Standing("missing")
    failed = read_object(entry.path / FAILED)
    if failed:
        return Standing("failed", number, state.nodes if state else "", failed.get("message", ""))
    if state is not None:
        why = "what it needs has failed" if state.reason == "DependencyNeverSatisfied" else state.reason
        name = {"COMPLETED": "failed", "CANCELLED": "cancelled"}.get(state.name, state.name.lower())
        return Standing(name, number, state.nodes, "it ended without a result" if state.name == "COMPLETED" else why)
    if job["executor"] == "local" and cancelled(entry.path) and not local_lives(job):
        return Standing("cancelled", number)
    log = events(entry.path)
    if owner_lives(entry.path) or (job["executor"] == "local" and local_lives(job)):
        return Standing("running", number, log[-1].get("host", "") if log else "", active=True)
    started = [event for event in log if event["event"] == "started" and event["time"] >= job["time"]]
    if started or job["executor"] == "local":
        return Standing("dead", number, started[-1].get("host", "") if started else "", "it ended without a word")
    return Standing("lost", number, "", "SLURM does not know the job, and it left no trace")


def local_lives(job: dict) -> bool:
    """Whether a job's process is alive on this machine."""
    import socket

    from pretrain.run.liveness import process_start

    started = process_start(int(job["job"]))
    return job.get("host") == socket.gethostname() and started is not None and started == job.get("started")
