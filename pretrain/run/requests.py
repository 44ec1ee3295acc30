"""What is asked of a run besides its plan: to stop, by a signal, and to save, by the clock.

Ctrl-C and SIGTERM let the iteration end and its state be saved; a second Ctrl-C ends the process at once. Whoever runs
the training with handlers of its own, as submitit does on a cluster, keeps them.
"""

import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import NamedTuple

import torch
import torch.distributed as dist

from pretrain.run.distributed import World

HANDLED = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Asked(NamedTuple):
    """save: a checkpoint is due by the clock. stop: the signal that asks the run to stop, 0 for none."""

    save: bool
    stop: int


class Requests:
    """Listens to signals for the duration of a ``with`` block.

    minutes: between checkpoints by the clock. Of many processes all hear of what one was asked, and so they do only
    where they have met anyway, at a line of the log.
    """

    def __init__(self, world: World, minutes: float):
        self.world, self.seconds = world, 60 * minutes
        self.saved, self.signal = time.monotonic(), 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Requests":
        if threading.current_thread() is threading.main_thread():
            for number, usual in HANDLED.items():
                if signal.getsignal(number) == usual:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        if self.world.is_main:
            again = "; once more ends at once" if number == signal.SIGINT else ""
            print(f"{signal.Signals(number).name}: saving after this iteration{again}", file=sys.stderr, flush=True)

    def asked(self, met: bool) -> Asked:
        """What was asked until now. met: whether all processes ask at this moment."""
        due = time.monotonic() - self.saved >= self.seconds
        if self.world.size == 1:
            return Asked(due, self.signal)
        if not met:
            return Asked(False, 0)
        both = torch.tensor([int(due), self.signal], device=self.world.device)
        dist.all_reduce(both, dist.ReduceOp.MAX)
        save, stop = both.tolist()
        return Asked(bool(save), stop)

    def done_saving(self) -> None:
        """The clock starts again."""
        self.saved = time.monotonic()
