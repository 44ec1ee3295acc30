"""What a run tells while it trains: mean losses of an interval, the progress bar, a line for each interval."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pretrain.objectives.step import Term
from pretrain.run.distributed import World, mean_over_processes

T = TypeVar("T")


class Interval:
    """Collects the loss terms since the last line of the log, without waiting for the device until ``close``.

    waited: seconds that the loop stood still for want of data; a GPU may have had work of earlier iterations meanwhile.
    state: what ``state()`` gave where a checkpoint was written within an interval, to go on with it.
    """

    def __init__(self, state: dict | None = None):
        state = state or {"terms": [], "iterations": 0}
        self.terms = [(iteration, Term(*term)) for iteration, *term in state["terms"]]
        self.before = self.iterations = state["iterations"]
        self.started, self.waited = time.perf_counter(), 0.0

    def state(self) -> dict:
        """Lists, numbers and tensors, as checkpoints hold them."""
        return {"terms": [(iteration, *term) for iteration, term in self.terms], "iterations": self.iterations}

    def pace(self, batch_size: int) -> dict[str, float]:
        """Images a second of all processes, and the share of the time that this one waited for data; after ``close``,
        so that the device has done what it was given."""
        seconds = time.perf_counter() - self.started
        rate, waiting = (self.iterations - self.before) * batch_size / seconds, self.waited / seconds
        return {"images_per_second": round(rate, 1), "waiting": round(waiting, 4)}

    def add(self, iteration: int, terms: list[Term]) -> None:
        self.iterations += 1
        self.terms += [(iteration, term) for term in terms]

    def close(self, world: World) -> tuple[dict[str, float], tuple[int, Term] | None]:
        """Mean of each kind of term and of their sum (``loss``) over iterations and processes; the first term that is
        not finite in any process."""
        values = mean_over_processes(torch.stack([term.value for _, term in self.terms]), world).tolist()
        finite = torch.tensor(values).isfinite()
        sums, counts = defaultdict(float), defaultdict(int)
        for (_, term), value in zip(self.terms, values, strict=True):
            sums[term.name] += value
            counts[term.name] += 1
        means = {name: sums[name] / counts[name] for name in sums}
        bad = None if finite.all() else self.terms[int((~finite).nonzero()[0])]
        return {"loss": sum(values) / self.iterations, **means}, bad


def timed(batches: Iterable[T]) -> Iterator[tuple[T, float]]:
    """Each batch with the seconds that it had to be waited for."""
    batches = iter(batches)
    while True:
        asked = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            return
        yield batch, time.perf_counter() - asked


class TimeLeft:
    """Seconds to the end, at the pace since ``start``. work: what iterations ``a`` to ``b`` cost, ``work(a, b)``, which
    differs by stage: the first has one network an iteration, the last ones several."""

    def __init__(self, work: Callable[[int, int], float], start: int, iterations: int):
        self.work, self.start, self.iterations = work, start, iterations
        self.begun = time.perf_counter()

    def after(self, done: int) -> float | None:
        """None before the first iteration is done."""
        if done <= self.start:
            return None
        pace = (time.perf_counter() - self.begun) / self.work(self.start, done)
        return pace * self.work(done, self.iterations)

    def text(self, done: int) -> str:
        """``1:23:45``"""
        left = self.after(done)
        return "?" if left is None else str(timedelta(seconds=round(left)))


def progress(world: World) -> Progress:
    """A bar on terminals; elsewhere only the lines of ``report``."""
    console = Console()
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"),
        console=console, disable=not (world.is_main and console.is_terminal),
    )  # fmt: skip


def report(bar: Progress, line: dict, iterations: int, left: str) -> None:
    """One line for an interval. left: time to the end."""
    losses = "  ".join(f"{name} {line[name]:.4f}" for name in ("loss", "base", "distill") if name in line)
    rate = f"lr {line['lr']:.3g}  {line['images_per_second']:g} images/s  waiting {100 * line['waiting']:.0f} %"
    text = f"iteration {line['iteration']}/{iterations}  {losses}  {rate}  {left} left"
    bar.console.print(text, highlight=False, soft_wrap=True)
