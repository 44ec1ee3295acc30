"""What a training shows: everything in log.txt; on a terminal a progress bar, elsewhere a line every 20 iterations."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detectron2.engine import HookBase
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOGGERS = ("detectron2", "fvcore", "torch.fx", "py.warnings")
FORMAT = logging.Formatter("[%(asctime)s] %(name)s %(levelname)s: %(message)s", "%m/%d %H:%M:%S")


@contextmanager
def logging_to(path: Path, main_process: bool) -> Iterator[None]:
    """Send detectron2's log (and python's warnings) to ``path`` for the length of the block, from the main process."""
    handlers: list[tuple[str, logging.Handler]] = []
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).propagate) for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).propagate = False
        handlers.append((name, logging.FileHandler(path) if main_process else logging.NullHandler()))
    if main_process and not sys.stdout.isatty():
        handlers.append(("detectron2.utils.events", logging.StreamHandler(sys.stdout)))
    for name, handler in handlers:
        handler.setFormatter(FORMAT)
        logging.getLogger(name).addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for name, handler in handlers:
            logging.getLogger(name).removeHandler(handler)
            handler.close()
        for name, (level, propagate) in before.items():
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).propagate = propagate


class ProgressBar(HookBase):
    """A bar with the iteration, the total loss and the time left."""

    def __init__(self, title: str):
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        self.task = self.bar.add_task(title, loss="-")

    def before_train(self) -> None:
        self.bar.update(self.task, total=self.trainer.max_iter, completed=self.trainer.iter)
        self.bar.start()

    def after_step(self) -> None:
        loss = self.trainer.storage.history("total_loss").median(20)
        self.bar.update(self.task, completed=self.trainer.iter + 1, loss=f"{loss:.3f}")

    def after_train(self) -> None:
        self.bar.stop()
