"""The plan of a launch, printed before anything is submitted: jobs, estimated GPU hours and disk."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slurm.folder import Entry, Standing
from slurm.presets import Preset
from slurm.submit import groups

CPU_TFLOPS = 0.03  # of one core
# Seconds of a core that small jobs are made of, measured: imports and set-up, and an iteration however small.
START, STEP = {"pretrain": 9.0, "transfer": 11.0, "convert": 6.0, "tables": 0.5}, 0.1
LONG = 40  # lines of a plan that a person may want to read


def gpu_hours(entry: Entry, preset: Preset) -> float:
    """Estimated hours of one GPU, or of one core without GPUs."""
    node = entry.node
    if node.hours is not None:
        return node.hours * node.nodes * max(node.gpus, node.tasks)
    if node.gpus:
        return node.flops / (preset.tflops * 1e12) / 3600
    return (START[node.kind] + max(node.flops / (CPU_TFLOPS * 1e12), node.steps * STEP)) / 3600


def show_plan(entries: list[Entry], chosen: list[Entry], standings: dict[str, Standing], preset: Preset) -> None:
    """Print what is there, what will be submitted, in which arrays, and what it costs."""
    console = Console()
    console.width = console.width if console.is_terminal else 10_000  # a file or a pipe wraps nothing
    unit = "GPU hours" if any(entry.node.gpus for entry in entries) else "CPU hours"
    table = Table("to submit", "jobs", "nodes", "tasks", "GPUs", f"{unit} (est.)", "disk (est.)", "waits for", box=None)
    names = {entry.name for entry in chosen} | {name for name, found in standings.items() if found.active}
    found = groups(chosen, names)
    for group in found if len(found) <= LONG else by_table(chosen):
        first, waits = group[0].node, sorted({name for entry in group for name in entry.needs if name in names})
        hours = sum(gpu_hours(entry, preset) for entry in group)
        table.add_row(
            escape(first.name) + (f" and {len(group) - 1} like it" if len(group) > 1 else ""),
            str(len(group)), str(first.nodes), str(first.tasks), str(first.gpus), hours_text(hours),
            bytes_text(sum(entry.node.disk for entry in group)),
            (escape(waits[0]) + (f" and {len(waits) - 1} more" if len(waits) > 1 else "")) if waits else "",
        )  # fmt: skip
    if chosen:
        console.print(table)
    console.print(summary(entries, chosen, standings, preset), highlight=False, soft_wrap=True)


def by_table(entries: list[Entry]) -> list[list[Entry]]:
    """Entries by the grid that names them, their kind and their size: the plan of many grids at once."""
    found: dict[tuple, list[Entry]] = {}
    for entry in entries:
        node = entry.node
        found.setdefault((node.name.split("/")[0], node.kind, node.nodes, node.gpus), []).append(entry)
    return list(found.values())


def summary(entries: list[Entry], chosen: list[Entry], standings: dict[str, Standing], preset: Preset) -> str:
    """``12 jobs: 3 done, 1 running, 8 to submit (4 missing, …), about 52 GPU hours and 2.1 GB of disk``."""
    reasons: dict[str, int] = {}
    for entry in chosen:
        reasons[standings[entry.name].name] = reasons.get(standings[entry.name].name, 0) + 1
    done = sum(found.name == "done" for found in standings.values())
    live = sum(found.active for found in standings.values())
    why = ", ".join(f"{number} {name}" for name, number in reasons.items())
    unit = "GPU hours" if any(entry.node.gpus for entry in entries) else "CPU hours"
    hours, disk = sum(gpu_hours(e, preset) for e in chosen), sum(entry.node.disk for entry in chosen)
    cost = f": about {hours_text(hours)} {unit} and {bytes_text(disk)} of disk"
    return (
        f"{len(entries)} job{'s' * (len(entries) != 1)}: {done} done, {live} in the queue, {len(chosen)} to submit"
        f"{f' ({why})' if chosen else ''}{cost if chosen else ''}"
    )


def changed(old: list[Entry], new: list[Entry]) -> list[str]:
    """Names that both have and whose result differs: their settings were changed since."""
    before = {entry.name: entry.hash for entry in old}
    return [entry.name for entry in new if before.get(entry.name, entry.hash) != entry.hash]


def hours_text(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def bytes_text(size: float) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"
