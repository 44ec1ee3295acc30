"""Checkpoints that are written beside the training, which waits for a copy of its state and not for the disk."""

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from pretrain.common.devices import on_host
from pretrain.run.checkpoint import save_checkpoint


class BackgroundCheckpoints:
    """Writes checkpoints into ``folder`` for the duration of a ``with`` block, one at a time, in their order.

    allowed: called just before each is written, raises what forbids it. An error of a writing is raised by the next
    ``save`` or ``wait``, or where the block ends, which all wait until the file is whole; where the block ends by
    another error, it is printed. Readers of the folder belong behind ``wait`` or the block.
    """

    def __init__(self, folder: Path, allowed: Callable[[], None]):
        self.folder, self.allowed = folder, allowed
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._pending: Future | None = None

    def __enter__(self) -> "BackgroundCheckpoints":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.wait()
        except Exception as refused:
            if kind is None or issubclass(kind, SystemExit):
                raise
            print(f"error: {refused}", file=sys.stderr, flush=True)
        finally:
            self._thread.shutdown()

    def save(self, iteration: int, state: dict) -> None:
        """Have the state of ``iteration`` iterations done written, as it is at this moment."""
        self.wait()
        self._pending = self._thread.submit(self._write, iteration, on_host(state))

    def wait(self) -> None:
        """Until everything that was to be saved is whole on the disk. Raises what ``save_checkpoint`` did."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _write(self, iteration: int, state: dict) -> None:
        self.allowed()
        save_checkpoint(self.folder, iteration, state)
