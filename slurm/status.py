"""``status``: a table of a grid's jobs with their progress and why they failed; ``logs`` of one."""

import time
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from pretrain.common.files import read_lines, read_object
from slurm.attempts import FAILED
from slurm.folder import Entry, Standing, job_of, standings

STYLES = {"done": "green", "running": "cyan", "failed": "red", "dead": "red", "missing": "dim", "pending": "yellow"}
METRICS = ("loss", "top1", "box/AP")
TAIL = 16_384  # bytes of a log that are looked at


def status_table(entries: list[Entry]) -> Table:
    """State, node, progress and trouble of every entry, as they are now."""
    table = Table("job", "kind", "state", "id", "node", "progress", "ETA", "last metric", "why", box=None)
    for entry, found in zip(entries, standings(entries).values(), strict=True):
        done, eta, metric = progress(entry, found)
        state = f"[{STYLES.get(found.name, 'red')}]{found.name}[/]"
        why = "" if found.name in ("done", "running") else why_failed(entry, found)
        rest = (found.job, found.nodes, done, eta, metric, why)
        table.add_row(escape(entry.name), entry.node.kind, state, *map(escape, rest))
    return table


def counts(found: dict[str, Standing]) -> str:
    """``3 done, 1 running``."""
    names = [standing.name for standing in found.values()]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "no jobs"


def progress(entry: Entry, found: Standing) -> tuple[str, str, str]:
    """(iteration of total, time left, last metric) of an entry, empty where nothing is known."""
    if entry.node.kind == "pretrain":
        lines, total = read_lines(entry.path / "metrics.jsonl", TAIL), total_iterations(entry.path)
    else:
        logs = sorted(entry.path.rglob("metrics.jsonl"), key=lambda path: path.stat().st_mtime)
        lines = read_lines(logs[-1], TAIL) if logs else []
        total = whole(lines[-1].get("iterations")) if lines else None
        results = [read_object(path) for path in sorted(entry.path.rglob("result.json")) if "results" not in path.parts]
        if results:
            metrics = results[-1].get("metrics")
            return "", "", metric_text([metrics] if isinstance(metrics, dict) else [])
    lines = [line for line in lines if whole(line.get("iteration")) is not None]
    if not lines:
        return "", "", ""
    here = lines[-1]["iteration"]
    text = f"{here}/{total}" if total else str(here)
    left = time_left(lines, total) if total and found.name == "running" else None
    return text, "" if left is None else clock(left), metric_text(lines)


def time_left(lines: list[dict], total: int) -> float | None:
    """Seconds to the end at the rate of the last lines."""
    steps = lines[-1]["iteration"] - lines[0]["iteration"]
    if steps <= 0 or not all(isinstance(line.get("seconds"), (int, float)) for line in (lines[0], lines[-1])):
        return None
    return (total - lines[-1]["iteration"]) * (lines[-1]["seconds"] - lines[0]["seconds"]) / steps


def metric_text(lines: list[dict]) -> str:
    for name in METRICS:
        for line in reversed(lines):
            if isinstance(line.get(name), (int, float)):
                return f"{name} {line[name]:.4g}"
    return ""


def total_iterations(folder: Path) -> int | None:
    training = read_object(folder / "config.json").get("training")
    return whole(training.get("iterations")) if isinstance(training, dict) else None


def whole(value: object) -> int | None:
    """``value`` if it is a whole number."""
    return value if isinstance(value, int) else None


def why_failed(entry: Entry, found: Standing) -> str:
    """Why an entry failed or waits: what it said itself, or the last lines of its stderr, and SLURM's reason."""
    if found.active or found.name in ("missing", "lost"):
        return found.reason
    message = read_object(entry.path / FAILED).get("message")
    if message and "killed" not in message and "crashed" not in message:
        return message
    lines = stderr_lines(entry)
    said = " | ".join(lines[-2:]) if lines else ""
    return "; ".join(part for part in (message or found.reason, said) if part)[:300]


def stderr_lines(entry: Entry) -> list[str]:
    """What the entry's first task wrote to stderr, without submitit's own lines."""
    try:
        text = Path(job_of(entry)["stderr"]).read_text(errors="replace")
    except (KeyError, OSError):
        return []
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("submitit ", "srun: Job step", "warnings.warn"))]


def log_files(entry: Entry) -> list[Path]:
    """stdout and stderr of the entry's tasks, rank 0 first."""
    job = job_of(entry)
    if not job:
        return []
    found = Path(job["submission"]).glob(f"{job['job']}_*_log.*")
    return sorted(found, key=lambda path: (int(path.name.split("_")[-2]), path.suffix == ".err"))


def clock(seconds: float) -> str:
    """``1:02:03``."""
    seconds = int(max(0, seconds))
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def watch_header(found: dict[str, Standing]) -> str:
    return f"{time.strftime('%H:%M:%S')}  {counts(found)}"
