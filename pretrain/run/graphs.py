"""CUDA graphs: the base network's part of a step is recorded once and replayed by one launch.

Of a step's networks the largest is the one that every step has at the same width: its forward pass, the momentum
encoder's, the base loss, and the backward pass of all that. Sub-networks change with each step, launched as ever. A
graph reads parameters and writes gradients where they lie, which no optimizer here moves, and keeps the activations of
the base network for as long as it lives.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.objectives.step import Batch, Objective, Step, Term
from pretrain.run.device import DTYPES
from pretrain.run.distributed import World

Capture = Callable[[nn.Module, tuple[Tensor, ...]], Callable[..., tuple[Tensor, Tensor]]]
WARM_UP = 3  # passes before a recording: what is made at first use is no part of it


class ReplayedBase(nn.Module):
    """``objective`` with the losses of its base network replayed; to be called as the objective is.

    example: a batch of the shapes and on the device of every later one; its values do not matter. width: of the base
    network; where a step begins with another, nothing is replayed. capture: (module, its arguments) -> what computes
    the same from other arguments of these shapes, and writes over its former results whenever it is called.
    """

    def __init__(self, objective: Objective, example: Batch, width: float, capture: Capture, precision: str = "fp32"):
        super().__init__()
        self.objective, self.width = objective, width
        self.replay = capture(_BaseLosses(objective, width, precision), (*example.views, example.labels))

    def forward(self, batch: Batch, widths: list[float], targets: Tensor | None = None) -> Step:
        if targets is not None or widths[0] != self.width:
            return self.objective(batch, widths, targets)
        value, targets = self.replay(*batch.views, batch.labels)
        # the next replay writes over both: targets are of this step alone, but the value waits for the next log line
        value, targets, sub_networks = value.clone(), targets.detach(), widths[1:]
        if not sub_networks:
            value = value + self.objective.idle(widths, base=True)
            return Step([Term("base", self.width, value)], targets)
        terms, targets = self.objective(batch, sub_networks, targets)
        return Step([Term("base", self.width, value), *terms], targets)


class _BaseLosses(nn.Module):
    """(views, labels) -> the value of the base network's only term, and the targets of sub-networks."""

    value: Tensor

    def __init__(self, objective: Objective, width: float, precision: str):
        super().__init__()
        self.objective, self.width, self.precision = objective, width, precision

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        *views, labels = tensors
        dtype, device = DTYPES.get(self.precision, torch.bfloat16), labels.device.type
        # Here and not around the recording, whose backward pass would see it; and without autocast's memory of casts,
        # by which a recording would keep the weights of today.
        with torch.autocast(device, dtype=dtype, enabled=self.precision in DTYPES, cache_enabled=False):
            (term,), targets = self.objective.losses(Batch(tuple(views), labels), [self.width], None)
        self.value = term.value.clone()  # no view of anything, for ``forget``
        return self.value, targets

    def forget(self) -> None:
        """Let go of how the last value came about, which a recording keeps as its result.

        It would keep what adds to the parameters' gradients, and that belongs to the stream of the recording: each
        later step would wait for it.
        """
        self.value.detach_()


def recorded(module: _BaseLosses, arguments: tuple[Tensor, ...]) -> Callable[..., tuple[Tensor, Tensor]]:
    """``module`` as a CUDA graph of its forward pass and one of its backward pass."""
    replay = torch.cuda.make_graphed_callables(module, arguments, WARM_UP, allow_unused_input=True)
    module.forget()
    return replay


def replayed(objective: Objective, example: Batch, width: float | None, world: World, precision: str) -> ReplayedBase:
    """``ReplayedBase`` on a GPU. width: of every step's base network, None where that changes.

    Errors: UserError where it changes, on another device, for a method that listens to a teacher, whose features are no
    input of the graph, and for losses that ask other processes, which was never tried.
    """
    option = "training.compile = 'graphs'"
    if world.device.type != "cuda":
        raise UserError(f"{option} records CUDA graphs; expected a GPU, not the cpu")
    if width is None:
        raise UserError(f"{option} records a network of one width; expected sampling.sandwich to be True")
    if objective.teacher is not None:
        raise UserError(f"{option} records no method with a teacher; expected True or False")
    if world.size > 1 and objective.asks_others:
        raise UserError(f"{option} records no losses or norms that ask other processes; expected one process")
    return ReplayedBase(objective, example, width, recorded, precision)
