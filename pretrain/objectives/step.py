"""What the training loop asks of every objective: the losses of a step at some widths, in one call.

``objective(batch, widths)`` runs all widths, the base network first. A step can also be taken apart, for an optimizer
step or a backward pass after every width: ``objective(batch, widths[:1])`` gives the base network's loss and the
``targets``, with which ``objective(batch, [width], targets)`` gives the loss of a sub-network, now or later.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from pretrain.data.facts import ImageFacts
from pretrain.teachers.teacher import Teacher


class Batch(NamedTuple):
    """views: ``Objective.num_views`` augmented views of B images, each normalised [B, 3, H, W]. labels: int64 [B].

    taught: the features that ``Objective.teacher`` has of the views, one view after the other, [views * B, D].
    """

    views: tuple[Tensor, ...]
    labels: Tensor
    taught: Tensor | None = None


class Term(NamedTuple):
    """One summand of a step's loss: ``base`` or ``distill``, the width it belongs to, and its scalar value."""

    name: str
    width: float
    value: Tensor


class Step(NamedTuple):
    """The terms of a call, and what sub-networks of the same step take as their targets."""

    terms: list[Term]
    targets: Tensor


class ObjectiveSettings(ABC):
    """What the settings of every method can do; a method inherits it into a frozen dataclass with its ``name``."""

    def check(self) -> None:  # noqa: B027, a hook
        """UserError for values that make no sense or contradict each other. Not every method has such values."""

    @abstractmethod
    def build(self, backbone: nn.Module, chunks: int, width_max: float, images: ImageFacts) -> "Objective":
        """The method on ``backbone``. chunks: parts of this process's batch. width_max: w_max. images: the data."""


class Objective(nn.Module, ABC):
    """A backbone with the heads and losses of a method.

    num_views: augmented views of each image. projector: None where there is none. teacher: the frozen network that the
    method distils from, if it does; the training loop asks it, once for each batch. asks_others: whether losses or
    norms take anything from other processes.

    After every call each trainable parameter has a gradient, if need be of 0, so DistributedDataParallel needs no
    search for unused ones. What a call had no use for is named by ``unused``: it must not be learnt from that gradient.
    """

    num_views = 2
    backbone: nn.Module
    projector: nn.Module | None
    teacher: Teacher | None = None
    asks_others = False

    def forward(self, batch: Batch, widths: list[float], targets: Tensor | None = None) -> Step:
        """targets: those of the step's base network; without them ``widths[0]`` is the base network."""
        (first, *rest), found = self.losses(batch, widths, targets)
        idle = self.idle(widths, base=targets is None)
        return Step([first._replace(value=first.value + idle), *rest], found)

    def idle(self, widths: list[float], base: bool) -> Tensor | float:
        """0, with a gradient of 0 for every parameter that such a call has no use for."""
        return sum((p.sum() * 0.0 for p in self.unused(widths, base)), 0.0)

    @abstractmethod
    def losses(self, batch: Batch, widths: list[float], targets: Tensor | None) -> Step:
        """What ``forward`` returns, before parameters without a part in it get their gradient of 0."""

    @abstractmethod
    def unused(self, widths: list[float], base: bool) -> list[nn.Parameter]:
        """The trainable parameters that a call with ``widths`` has no use for; base: whether it is without targets.

        The optimizer leaves them as they are: weight decay alone, ten times over by SGD's momentum, would shrink a
        head that waits for its first sub-network to nothing within the first stage of a long training.
        """

    @abstractmethod
    def embed(self, x: Tensor, width: float) -> Tensor:
        """Normalised images [B, 3, H, W] -> [B, D], what the loss compares: watched for collapse."""

    def finish_step(self, targets: Tensor) -> None:
        """Called once the gradients of a step with these ``targets`` are computed: for losses that remember."""

    def update_momentum(self, progress: float) -> None:
        """Move the momentum encoder, if there is one. progress: iteration / iterations, in [0, 1)."""


def heads(*modules: nn.Module | None) -> list[nn.Parameter]:
    """The parameters of those heads that there are."""
    return [p for module in modules if module is not None for p in module.parameters()]
