"""How often a job may start again. Run by the batch script before and after the tasks; imports only
Python's own library and what writes files.

submitit requeues a job that was told of its time limit or preemption. What kills a job without a word (kill -9, no
memory, a lost node) is covered here: the job is requeued as long as at most ``limit`` starts have ended like that. A
failure that a task could name (``failed.json``) would only repeat itself, and is final.

    python slurm/attempts.py begin|end FOLDERS LIMIT [STATUS]

FOLDERS is a file with one folder a line, by array task.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run by its path

from pretrain.common.files import append_line, read_lines, write_json

LOG, FAILED = "attempts.jsonl", "failed.json"


def note(folder: Path, event: str, **details) -> None:
    """Append an event to the folder's log: submitted, started, requeued (as planned), ended or cancelled."""
    folder.mkdir(parents=True, exist_ok=True)
    append_line(folder / LOG, {"event": event, "time": time.time(), **details})


def crashes(folder: Path) -> int:
    """Starts since the last submission that ended neither well nor as planned, the running one included."""
    count = 0
    for event in events(folder):
        count += {"started": 1, "requeued": -1, "submitted": -count}.get(event["event"], 0)
    return max(0, count)


def cancelled(folder: Path) -> bool:
    """Whether the job was cancelled since its last submission."""
    last = [event["event"] for event in events(folder) if event["event"] in ("submitted", "cancelled")]
    return last[-1:] == ["cancelled"]


def events(folder: Path) -> list[dict]:
    """Whole lines of the folder's log."""
    return [
        line for line in read_lines(folder / LOG)
        if isinstance(line.get("event"), str) and isinstance(line.get("time"), (int, float))
    ]  # fmt: skip


def fail(folder: Path, message: str, **details) -> None:
    """Say in ``failed.json`` why the job failed for good; the first reason stays."""
    path = folder / FAILED
    if not path.exists():
        write_json(path, {"message": message, "time": time.time(), **details})


def begin(folder: Path, limit: int, job: str) -> int:
    """Before the tasks: 0 to go on, 1 if too many starts have crashed (a lost node is requeued by SLURM, unasked)."""
    before = crashes(folder)
    if before > limit:
        fail(folder, f"gave up after {before} starts that crashed or lost a node", job=job)
        return 1
    note(folder, "started", job=job, host=socket.gethostname(), restart=os.environ.get("SLURM_RESTART_COUNT", "0"))
    return 0


def end(folder: Path, limit: int, job: str, status: int) -> int:
    """After the tasks: their status, or a requeue if they were killed and may start again."""
    planned = [event["event"] for event in events(folder)][-1:] == ["requeued"]
    note(folder, "ended", job=job, status=status)
    if planned:  # submitit has asked for it, and SLURM will end this script
        time.sleep(60)
        return status
    if status == 0 or (folder / FAILED).exists():
        return status
    if crashes(folder) > limit:
        fail(folder, f"a task was killed or crashed (status {status}), {crashes(folder)} starts in all", job=job)
        return status
    print(f"a task was killed (status {status}): requeueing", file=sys.stderr, flush=True)
    subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)
    time.sleep(60)  # SLURM ends this script; an exit status of its own would count as a failure
    return status


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    action, folders, limit = argv[0], Path(argv[1]).read_text().splitlines(), int(argv[2])
    folder = Path(folders[int(os.environ.get("SLURM_ARRAY_TASK_ID", 0))])
    job = os.environ["SLURM_JOB_ID"]
    return begin(folder, limit, job) if action == "begin" else end(folder, limit, job, int(argv[3]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
