"""``metrics.jsonl`` of a detection training: what ``launch.py status`` and a reader see of it, whatever trains."""

import time
from pathlib import Path

from pretrain.common.files import append_line, cut_lines
from pretrain.run.ownership import check_owner

FILE_NAME = "metrics.jsonl"


class ProgressFile:
    """Appends a line for each interval: ``iteration`` (done), ``iterations`` (in all), ``seconds``, and losses.

    iteration: where the training (re)starts. Lines beyond it tell of work that is done again and are cut off.
    """

    def __init__(self, folder: Path, iteration: int, iterations: int):
        self.path, self.iterations = Path(folder) / FILE_NAME, iterations
        kept = cut_lines(self.path, lambda line: line.get("iteration", 0) <= iteration)
        self.started = time.monotonic() - (kept[-1].get("seconds", 0.0) if kept else 0.0)

    def write(self, iteration: int, values: dict[str, float]) -> None:
        """values: ``loss`` and more numbers by name. UserError where another has become the folder's owner."""
        check_owner(self.path.parent)
        seconds = round(time.monotonic() - self.started, 3)
        append_line(self.path, {"iteration": iteration, "iterations": self.iterations, "seconds": seconds, **values})
