"""``--cluster local``: the same jobs on this machine, started here as soon as what they need is done."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain.common.files import read_object
from pretrain.run.liveness import process_start
from slurm.attempts import FAILED, cancelled, crashes, fail, note
from slurm.environment import job_environment
from slurm.folder import Entry, Standing, standings
from slurm.jobs import DONE
from slurm.presets import Preset
from slurm.submit import job_for, new_submission, prepare, record

ASK = 2.0  # seconds between looks at jobs of other launchers


def run_here(
    entries: list[Entry],
    chosen: list[Entry],
    found: dict[str, Standing],
    preset: Preset,
    folder: Path,
    relaunch: str,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Run ``chosen``, at most ``preset.array_parallelism`` at once; the names of those that did not succeed.

    entries, found: of the whole grid. ``--nodes N`` becomes N times as many processes. What needs a failed entry is
    left out, whoever computed it.
    """
    left, running, failed = list(chosen), {}, []
    others, asked = [entry for entry in entries if found[entry.name].active], time.monotonic()
    open_names, lost = {entry.name for entry in (*chosen, *others)}, set()
    for entry in chosen:  # from here on it may be cancelled
        prepare(entry)
    try:
        while left or running:
            if left and others and time.monotonic() - asked > ASK:
                others, asked = still_active(others, open_names, lost), time.monotonic()
            for entry in [entry for entry in left if set(entry.needs) & {*failed, *lost} or cancelled(entry.path)]:
                why = "cancelled" if cancelled(entry.path) else "left out, as what it needs has failed"
                say(f"{entry.name}: {why}")
                failed.append(entry.name)
                left.remove(entry)
            ready = [entry for entry in left if not set(entry.needs) & open_names]
            for entry in ready[: preset.array_parallelism - len(running)]:
                left.remove(entry)
                running[entry.name] = (entry, start(entry, preset, folder, relaunch))
                say(f"{entry.name}: started, log: {running[entry.name][1].paths.stdout}")
            for name, (entry, job) in list(running.items()):
                if not job.done(force_check=True):
                    continue
                del running[name]
                if read_object(entry.path / DONE).get("hash") == entry.hash:
                    say(f"{name}: done")
                    open_names.discard(name)
                elif cancelled(entry.path):
                    say(f"{name}: cancelled")
                    failed.append(name)
                elif not (entry.path / FAILED).exists() and crashes(entry.path) <= preset.max_retries:
                    say(f"{name}: killed; starting again")
                    running[name] = (entry, start(entry, preset, folder, relaunch))
                else:
                    fail(entry.path, "a process was killed or crashed", job=job.job_id)
                    say(f"{name}: failed: {read_object(entry.path / FAILED)['message']}")
                    failed.append(name)
            time.sleep(0.2)
    finally:
        for _, job in running.values():
            job.cancel()
    return failed


def still_active(others: list[Entry], open_names: set[str], lost: set[str]) -> list[Entry]:
    """Those of another launcher's entries that run or wait. What has ended is taken out of ``open_names``, and added
    to ``lost`` if it left no result."""
    found = standings(others)
    ended = {name for name, standing in found.items() if not standing.active}
    open_names -= ended
    lost |= {name for name in ended if found[name].name != "done"}
    return [entry for entry in others if entry.name not in ended]


@contextmanager
def interrupts_heard() -> Iterator[None]:
    """Let processes that are started here hear SIGINT, by which they are cancelled, although this one may not.

    What a script starts with ``&`` ignores it, and so would everything that it starts.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def start(entry: Entry, preset: Preset, folder: Path, relaunch: str):
    """submitit's LocalJob of the entry."""
    import submitit

    submission = new_submission(folder)
    executor = submitit.LocalExecutor(submission, max_num_timeout=preset.max_timeouts)
    executor.update_parameters(
        timeout_min=preset.time, tasks_per_node=entry.node.nodes * entry.node.tasks, gpus_per_node=entry.node.gpus,
        signal_delay_s=preset.signal_delay,
    )  # fmt: skip
    variables = job_environment(entry.node, preset)
    with submitit.helpers.clean_env(), submitit.helpers.environment_variables(**variables), interrupts_heard():
        job = executor.submit(job_for(entry, preset))
    note(entry.path, "started", job=job.job_id, host=os.uname().nodename)
    host = {"host": os.uname().nodename, "started": process_start(int(job.job_id))}
    record(entry, job.job_id, submission, "local", relaunch, **host)
    return job
