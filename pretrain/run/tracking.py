"""Trackers that a run reports to beside its own log (``training.track``): all that is known of wandb, MLflow, trackio.

Each is asked for the run by one name, which the run's folder keeps, so that a run that is resumed goes on there. Where
they store, online or not, is set as their users know it: ``WANDB_MODE``, ``MLFLOW_TRACKING_URI``, ``TRACKIO_DIR`` …
"""

import os
import re
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import monotonic, time

from pretrain.common.errors import UserError
from pretrain.common.files import write_text

PACKAGES = {
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),  # the last two for its file mlflow.db
    "trackio": ("trackio",),
}
PIP = {"mlflow": "mlflow-skinny"}  # where the package of a module has another name
PROJECT, NAME_FILE = "us3l", "tracked_as.txt"
NAME = re.compile("[0-9a-f]{12}")
PATIENCE = 60.0  # seconds that the end of a run waits for what is still to be sent


def check_trackers(names: Sequence[str]) -> None:
    """UserError, with the line for pip, for a tracker that is not installed."""
    for name in names:
        missing = [module for module in PACKAGES[name] if find_spec(module) is None]
        if missing:
            wanted = " ".join(PIP.get(module, module) for module in missing)
            raise UserError(f"training.track names {name}, which is not installed; expected: pip install {wanted}")


class Tracker(ABC):
    """``Tracker(name, folder, config)`` opens the run ``name``, or goes on with it.

    folder: of the run. config: its settings, a dictionary of sections.
    """

    @abstractmethod
    def __init__(self, name: str, folder: Path, config: dict): ...

    @abstractmethod
    def log(self, values: dict[str, float], iteration: int) -> None:
        """Report named numbers after so many iterations."""

    @abstractmethod
    def close(self, finished: bool) -> None:
        """Send what is left. finished: whether the training came to its end."""


class Wandb(Tracker):
    def __init__(self, name: str, folder: Path, config: dict):
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=folder.name, id=name, resume="allow", config=config,
            dir=os.environ.get("WANDB_DIR", folder), settings=wandb.Settings(console="off"),
        )  # fmt: skip

    def log(self, values: dict[str, float], iteration: int) -> None:
        self.run.log(values, step=iteration)

    def close(self, finished: bool) -> None:
        self.run.finish(exit_code=0 if finished else 1)


class MLflow(Tracker):
    TAG = "us3l.run"

    def __init__(self, name: str, folder: Path, config: dict):
        from mlflow import MlflowClient

        self.client, title = MlflowClient(), os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self.client.get_experiment_by_name(title)
        experiment = known.experiment_id if known else self.client.create_experiment(title)
        runs = self.client.search_runs([experiment], f"tags.`{self.TAG}` = '{name}'", max_results=1)
        run = runs[0] if runs else self.client.create_run(experiment, tags={self.TAG: name}, run_name=folder.name)
        self.run = run.info.run_id
        if runs:
            self.client.update_run(self.run, status="RUNNING")
        else:
            for key, value in flattened(config).items():
                self.client.log_param(self.run, key, value)

    def log(self, values: dict[str, float], iteration: int) -> None:
        from mlflow.entities import Metric

        now = int(time() * 1000)
        self.client.log_batch(self.run, [Metric(key, value, now, iteration) for key, value in values.items()])

    def close(self, finished: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if finished else "KILLED")


class Trackio(Tracker):
    def __init__(self, name: str, folder: Path, config: dict):
        import trackio

        self.run = trackio.init(PROJECT, f"{folder.name}-{name}", resume="allow", config=config, embed=False)

    def log(self, values: dict[str, float], iteration: int) -> None:
        self.run.log(values, step=iteration)

    def close(self, finished: bool) -> None:
        self.run.finish()


TRACKERS: dict[str, type[Tracker]] = {"wandb": Wandb, "mlflow": MLflow, "trackio": Trackio}


class Reporter:
    """One tracker behind a thread: one that is slow holds nothing up, and one that fails is left out.

    error: why it failed, else None.
    """

    def __init__(self, title: str, name: str, folder: Path, config: dict):
        self.title, self.error, self.finished = title, None, False
        self._queue, self._warned, self._thread = SimpleQueue(), False, None
        try:
            tracker = TRACKERS[title](name, folder, config)  # here, where no loader has been forked yet
        except Exception as error:  # of its own kinds, of its network library, of the system
            self.fail(error)
        else:
            self._thread = Thread(target=self._report, args=(tracker,), daemon=True)
            self._thread.start()

    def fail(self, error: Exception) -> None:
        lines = str(error).strip().splitlines()
        self.error = (lines or [type(error).__name__])[0][:200]

    def _report(self, tracker: Tracker) -> None:
        try:
            for values, iteration in iter(self._queue.get, None):
                tracker.log(values, iteration)
            tracker.close(self.finished)
        except Exception as error:  # as above
            self.fail(error)

    def warn(self) -> None:
        """Say once that it failed."""
        if self.error is not None and not self._warned:
            self._warned = True
            warnings.warn(f"{self.title} does not track this run: {self.error}", stacklevel=4)

    def log(self, values: dict[str, float], iteration: int) -> None:
        self.warn()
        if self.error is None:
            self._queue.put((values, iteration))

    def end(self, finished: bool) -> None:
        self.finished = finished
        self._queue.put(None)

    def wait(self, until: float) -> None:
        if self._thread is not None:
            self._thread.join(max(0.0, until - monotonic()))
            if self._thread.is_alive():
                self.error = f"what it was told last was not sent within {PATIENCE:g} s"
        self.warn()


class Trackers:
    """The trackers that a run names. A failure of one costs a warning and its own record, never the training."""

    def __init__(self, names: Sequence[str], folder: Path, config: dict):
        self.reporters = []
        if names:
            name = run_name(folder)
            self.reporters = [Reporter(title, name, folder, config) for title in names]

    def log(self, values: dict[str, float], iteration: int) -> None:
        """Report named numbers after so many iterations, without waiting."""
        for reporter in self.reporters:
            reporter.log(values, iteration)

    def close(self, finished: bool) -> None:
        """Wait for all, for ``PATIENCE`` seconds at most. finished: whether the training came to its end."""
        for reporter in self.reporters:
            reporter.end(finished)
        until = monotonic() + PATIENCE
        for reporter in self.reporters:
            reporter.wait(until)


def run_name(folder: Path) -> str:
    """The run's name among all of a tracker: drawn once, kept in ``folder``."""
    path = folder / NAME_FILE
    if path.exists() and NAME.fullmatch(name := path.read_text(errors="replace").strip()):
        return name
    write_text(path, f"{(name := uuid.uuid4().hex[:12])}\n")
    return name


def flattened(config: dict, prefix: str = "") -> dict[str, str]:
    """Dotted keys with their values as text."""
    found = {}
    for key, value in config.items():
        inner = isinstance(value, dict)
        found |= flattened(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": str(value)[:500]}
    return found
