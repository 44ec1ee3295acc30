"""``metrics.jsonl`` (one line an interval), TensorBoard events and trackers of a run."""

from pathlib import Path
from types import TracebackType

from pretrain.common.files import append_line, cut_lines, read_lines
from pretrain.run.tracking import Trackers


class MetricsLog:
    """Appends lines to ``folder/metrics.jsonl`` and the same scalars to TensorBoard and to trackers, until its ``with``
    block ends.

    iteration: where the run (re)starts; lines beyond it belong to work that a crash has undone and are cut off, in one
    step: a run that is killed meanwhile has lost no line. Trackers, which forget nothing, have seen them: they are told
    of what comes after. tracked: the trackers' names. config: what they are told of the run's settings.
    """

    def __init__(self, folder: Path, iteration: int, tracked: tuple[str, ...] = (), config: dict | None = None):
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "metrics.jsonl"
        self.seen = max((line.get("iteration", 0) for line in read_lines(self.path)), default=0)
        kept = cut_lines(self.path, lambda line: line.get("iteration", iteration + 1) <= iteration)
        self.seconds = kept[-1].get("seconds", 0.0) if kept else 0.0
        self.writer = SummaryWriter(str(folder), purge_step=iteration + 1)
        self.trackers = Trackers(tracked, folder, config or {})

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.writer.close()
        self.trackers.close(finished=kind is None)

    def write(self, line: dict) -> None:
        """line: ``iteration``, ``seconds`` and named numbers."""
        append_line(self.path, line)
        iteration = line["iteration"]
        values = {f"pretrain/{name}": value for name, value in line.items() if name != "iteration"}
        for name, value in values.items():
            self.writer.add_scalar(name, value, iteration)
        if iteration > self.seen:
            self.trackers.log(values, iteration)
