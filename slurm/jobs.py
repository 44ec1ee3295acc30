"""What a job runs: the callable that submitit starts in every task, on a cluster and on this machine."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import traceback
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from pretrain.common.errors import CollapsedError, NonFiniteLossError, UserError
from pretrain.common.files import write_json
from pretrain.run.membership import PORTS
from slurm.attempts import FAILED, fail, note
from slurm.grid.graph import Command, Node

DONE = "done.json"


class CommandFailed(RuntimeError):
    """A command ended with an error that would only repeat itself; the message is its last line."""


@dataclass
class NodeJob:
    """One node of a grid. command: resolved. folder: of the node's result. hash: of the node.

    collect: folders whose result.json files are copied to ``folder/results`` first. node: as it was launched.
    ``folder/done.json`` says that it succeeded, ``folder/failed.json`` why it failed for good.
    """

    command: Command
    folder: Path
    hash: str
    collect: tuple[Path, ...] = ()
    device: str = "cpu"
    node: Node | None = None

    def __call__(self) -> str:
        """Run it in this task; the folder. Errors: whatever stopped it."""
        started, rank = time.time(), task()[0]
        if rank == 0:
            (self.folder / DONE).unlink(missing_ok=True)
        try:
            self.check()
            if self.command.tool == "tools/pretrain.py":
                self.pretrain()
            else:
                self.run()
        except Exception as error:
            if final(error):
                self.explain(error)
            raise
        if rank == 0:
            record = {"hash": self.hash, "seconds": round(time.time() - started, 1), "host": socket.gethostname()}
            write_json(self.folder / DONE, {**record, "time": time.time(), "job": job_id()})
        return str(self.folder)

    def checkpoint(self, *args, **kwargs):
        """submitit calls it when the job is told of its time limit or preemption: the same job once more. The work
        itself is in the newest checkpoint that the training wrote."""
        from submitit.helpers import DelayedSubmission

        note(self.folder, "requeued", job=job_id())
        return DelayedSubmission(self, *args, **kwargs)

    def check(self) -> None:
        """UserError if the node's files say something else than at its launch, whose hash it will be recorded under."""
        from slurm.grid.determined import check_unchanged

        if self.node is not None:
            check_unchanged(self.node, self.command)

    def pretrain(self) -> None:
        """This task's part of a pretraining, continued from its newest valid checkpoint."""
        from pretrain.config import load_config
        from pretrain.train import pretrain

        join()
        config = load_config(self.command.subject, list(self.command.overrides))
        path = pretrain(config, self.folder, resume=True, device=self.device)
        if task()[0] == 0:
            print(f"universal checkpoint: {path}", flush=True)

    def run(self) -> None:
        """A tool as a process of its own; CommandFailed with its last line if it says why it failed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.collect:
            collect(self.collect, self.folder / "results")
        command = self.command.argv()
        print("$", shlex.join(command), flush=True)
        lines: deque[str] = deque(maxlen=5)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as process:
            try:
                for line in process.stderr:
                    sys.stderr.write(line)
                    lines.append(line.strip())
            except BaseException:  # this task is being requeued
                process.kill()
                raise
        if process.returncode < 0 or process.returncode >= 128:
            sys.exit(128 - process.returncode if process.returncode < 0 else process.returncode)  # killed: may go again
        if process.returncode:
            said = next((line for line in reversed(lines) if line), "no word").removeprefix("error: ")
            raise CommandFailed(f"{self.command.tool} ended with code {process.returncode}: {said}")

    def explain(self, error: Exception) -> None:
        text = str(error) if isinstance(error, (UserError, NonFiniteLossError, CommandFailed)) else repr(error)
        print(f"error: {text}", file=sys.stderr, flush=True)
        fail(self.folder, text, job=job_id(), rank=task()[0], traceback=traceback.format_exc())


def final(error: Exception) -> bool:
    """Whether an error would repeat itself. A task of several whose peer is lost sees only some RuntimeError or OSError
    of the connection, so in their company these are no proof."""
    import torch

    if isinstance(error, (UserError, NonFiniteLossError, CollapsedError, CommandFailed, torch.OutOfMemoryError)):
        return True
    return task()[1] == 1 or not isinstance(error, (RuntimeError, OSError))


def task() -> tuple[int, int]:
    """(rank, number) of this job's tasks."""
    from submitit import JobEnvironment

    environment = JobEnvironment()
    return environment.global_rank, environment.num_tasks


def job_id() -> str:
    from submitit import JobEnvironment

    return JobEnvironment().job_id


def join() -> None:
    """Say of tasks on this machine what srun says of a cluster's: pretraining joins them by it."""
    from submitit import JobEnvironment

    if os.environ.get("SUBMITIT_EXECUTOR") != "local":
        return
    environment, (first, count) = JobEnvironment(), PORTS
    os.environ |= {
        "RANK": str(environment.global_rank), "WORLD_SIZE": str(environment.num_tasks),
        "LOCAL_RANK": str(environment.local_rank), "LOCAL_WORLD_SIZE": str(environment.num_tasks),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(first + int(job_id()) % count),
    }  # fmt: skip


def collect(folders: tuple[Path, ...], target: Path) -> None:
    """Copy every result.json below ``folders`` to ``target``, keeping their times, by which tables order them."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for folder in folders:
        for path in folder.rglob("result.json"):
            copy = target / folder.name / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)


__all__ = ["DONE", "FAILED", "CommandFailed", "NodeJob"]
