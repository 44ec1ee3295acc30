"""Submission: what is missing, failed or changed becomes jobs that wait for each other; what is there stays."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import write_json, write_text
from pretrain.common.repository import ROOT
from slurm.attempts import FAILED, note
from slurm.environment import job_environment
from slurm.folder import JOB, Entry, Standing
from slurm.grid.graph import Command, Node
from slurm.jobs import NodeJob
from slurm.presets import Preset


def to_submit(entries: list[Entry], standings: dict[str, Standing], only: set[str] | None = None) -> list[Entry]:
    """Entries that have no result and no live job, in order. only: leave the others out."""
    wanted = [e for e in entries if standings[e.name].name != "done" and not standings[e.name].active]
    return [entry for entry in wanted if only is None or entry.name in only]


def groups(entries: list[Entry], waiting: set[str]) -> list[list[Entry]]:
    """Entries that can share an array: alike in kind and size, and waiting for the same jobs.

    waiting: names of jobs that are not done. Entries of one group never wait for each other: that would be a cycle.
    """
    found: dict[tuple, list[Entry]] = {}
    for entry in entries:
        needs = tuple(sorted(set(entry.needs) & waiting))
        node = entry.node
        alike = (node.kind, node.nodes, node.gpus, node.tasks, node.framework, needs)
        found.setdefault(alike, []).append(entry)
    return list(found.values())


def on_machine(node: Node, preset: Preset) -> Command:
    """The node's command with what only this cluster knows: where data lies, and the devices."""
    command, data = node.command, preset.data.get(node.data)
    if node.kind == "pretrain" and (data or node.roots) and not command.sets("data.root"):
        root = data or (node.roots[0] if len(node.roots) == 1 else list(node.roots))
        return replace(command, overrides=(*command.overrides, f"data.root={root}"))
    if node.kind != "transfer":
        return command
    options: dict[str, tuple[str, ...]] = {} if data is None else {"--data": (data,)}
    if node.framework:
        options |= {"--num-gpus": (str(node.gpus),)} if node.gpus > 1 else {}
        options["--resume"] = ()
    return command.with_options(options if node.gpus else {**options, "--device": ("cpu",)})


def job_for(entry: Entry, preset: Preset) -> NodeJob:
    """What submitit runs for the entry."""
    return NodeJob(
        command=on_machine(entry.node, preset), folder=entry.path, hash=entry.hash,
        collect=tuple(map(Path, entry.node.collect)), device="cuda" if entry.node.gpus else "cpu", node=entry.node,
    )  # fmt: skip


def parameters(group: list[Entry], preset: Preset, submission: Path, dependencies: list[str]) -> dict:
    """submitit's parameters of the group's sbatch script."""
    first = group[0].node
    script = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'slurm/attempts.py'))}"
    bounds = f"{shlex.quote(str(submission / 'folders.txt'))} {preset.max_retries}"
    exports = [f"export {name}={shlex.quote(value)}" for name, value in job_environment(first, preset).items()]
    # a detector is one task, which starts a process for each GPU by itself
    cpus = preset.cpus_per_task and preset.cpus_per_task * max(1, first.gpus // first.tasks)
    waits = [f"afterok:{':'.join(dependencies)}"] if dependencies else []
    waits += [preset.dependency] if preset.dependency else []
    values = {
        "job_name": submission.name, "time": preset.time, "nodes": first.nodes, "ntasks_per_node": first.tasks,
        "cpus_per_task": cpus, **gpus_of(first, preset),
        "mem": None if preset.memory is None else f"{round(preset.memory * 1024)}M", "partition": preset.partition,
        "account": preset.account, "qos": preset.qos, "constraint": preset.constraint, "exclude": preset.exclude,
        "comment": preset.comment, "dependency": ",".join(waits) or None, "array_parallelism": preset.array_parallelism,
        "signal_delay_s": preset.signal_delay,
        "setup": [*preset.setup, *exports, f"{script} begin {bounds} || exit 1"],
        # the line before is srun's: its status decides
        "teardown": ["status=$?", f"{script} end {bounds} $status", "exit $status"],
        # one dead task ends all; srun does not take the job's --cpus-per-task over
        "srun_args": [
            "--kill-on-bad-exit=1",
            *([f"--cpus-per-task={cpus}"] if cpus else []),
        ],
        "additional_parameters": {
            "requeue": True, **({"kill-on-invalid-dep": "yes"} if waits else {}), **preset.sbatch,
        },
    }  # fmt: skip
    return {key: value for key, value in values.items() if value is not None}


def gpus_of(node: Node, preset: Preset) -> dict:
    """submitit's parameter that asks for the node's GPUs."""
    if not node.gpus:
        return {}
    return {"gres": f"{preset.gres}:{node.gpus}"} if preset.gres else {"gpus_per_node": node.gpus}


def script_text(group: list[Entry], preset: Preset, submission: Path, dependencies: list[str]) -> str:
    """The sbatch script of a group."""
    from submitit.slurm.slurm import _make_sbatch_string

    values = parameters(group, preset, submission, dependencies)
    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(submission))}"
    return _make_sbatch_string(command, submission, map_count=len(group) if len(group) > 1 else None, **values)


def check_scripts(found: list[list[Entry]], preset: Preset, folder: Path) -> None:
    """Let sbatch judge one script of each size without submitting it. UserError with its objection."""
    sizes = {(node.nodes, node.gpus, node.tasks): group for group in found for node in [group[0].node]}
    for group in sizes.values():
        text = script_text(group[:1], preset, folder / "check", [])
        done = subprocess.run(["sbatch", "--test-only"], input=text, capture_output=True, text=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason"]
            first = group[0].node
            size = f"{first.nodes} node(s), {first.tasks} task(s) and {first.gpus} GPU(s) a node"
            raise UserError(f"sbatch refuses '{first.name}' ({size}): {said[-1].removeprefix('allocation failure: ')}")


def submit(
    chosen: list[Entry], standings: dict[str, Standing], preset: Preset, folder: Path, relaunch: str
) -> dict[str, str]:
    """Submit ``chosen`` to SLURM; the job of each by its name. standings: of the whole grid. relaunch: a command."""
    jobs = {name: found.job for name, found in standings.items() if found.active}
    waiting, submitted = {entry.name for entry in chosen} | set(jobs), {}
    ordered = groups(chosen, waiting)
    check_scripts(ordered, preset, folder)
    while ordered:  # a group may come before one that it needs: entries, not groups, are in order
        ready = [g for g in ordered if not {n for e in g for n in e.needs} & (waiting - jobs.keys() - submitted.keys())]
        for group in ready:
            needed = {name for name in group[0].needs if name in waiting}
            dependencies = sorted({{**jobs, **submitted}[name] for name in needed}, key=job_key)
            submitted |= submit_group(group, preset, new_submission(folder), dependencies, relaunch)
            ordered.remove(group)
    return submitted


def submit_group(
    group: list[Entry], preset: Preset, submission: Path, dependencies: list[str], relaunch: str
) -> dict[str, str]:
    """One sbatch for one job or an array."""
    import submitit

    write_text(submission / "folders.txt", "".join(f"{entry.path}\n" for entry in group))
    for entry in group:
        prepare(entry)
    executor = submitit.SlurmExecutor(submission, max_num_timeout=preset.max_timeouts)
    executor.update_parameters(**parameters(group, preset, submission, dependencies))
    with submitit.helpers.clean_env():
        try:
            with executor.batch():
                found = [executor.submit(job_for(entry, preset)) for entry in group]
        except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError) as error:
            raise UserError(f"sbatch refuses '{group[0].name}': {last_line(str(error))}") from None
    for entry, job in zip(group, found, strict=True):
        record(entry, job.job_id, submission, "slurm", relaunch)
    return {entry.name: job.job_id for entry, job in zip(group, found, strict=True)}


def prepare(entry: Entry) -> None:
    """Make the entry's folder ready for a new job: earlier failures and crashes no longer count."""
    entry.path.mkdir(parents=True, exist_ok=True)
    (entry.path / FAILED).unlink(missing_ok=True)
    note(entry.path, "submitted")


def record(entry: Entry, job: str, submission: Path, executor: str, relaunch: str, **more) -> None:
    """Write ``job.json``: who computes the entry, where it logs, and the command that launches it again."""
    values = {
        "job": job, "title": submission.name, "hash": entry.hash, "executor": executor, "submission": str(submission),
        "stdout": str(submission / f"{job}_0_log.out"), "stderr": str(submission / f"{job}_0_log.err"),
        "relaunch": relaunch, "time": time.time(), **more,
    }  # fmt: skip
    write_json(entry.path / JOB, values)


def new_submission(folder: Path) -> Path:
    """A fresh folder for submitit's files: job numbers start again on a new cluster, so they name no file for sure."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in count():
        path = folder / "jobs" / f"us3l-{stamp}-{os.getpid()}-{number}"
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
    raise AssertionError


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a lock while jobs are submitted: two launches at once would submit the same nodes twice."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".submit.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another launch is submitting to {folder} right now; wait for it to end") from None
        yield


def job_key(job: str) -> list[int]:
    return [int(part) for part in job.split("_")]


def last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no reason"])[-1]
