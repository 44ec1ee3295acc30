"""Which channels of a network's layers are the same channels, and what it means to put them into another order.

A residual connection, a depthwise convolution or an attention head ties the channels of several layers together: they
can only be reordered all at once, and then the network computes what it computed before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Slot(NamedTuple):
    """Where a group's channels lie in a parameter: in ``dim`` of it, from ``start`` on."""

    name: str
    dim: int = 0
    start: int = 0

    @property
    def module(self) -> str:
        """The name of the module that has the parameter."""
        return self.name.rpartition(".")[0]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that any one order is good for. Narrow networks use the first of them.

    size: their number. writes: the parameters that make them, or change each by itself. reads: the weights that look at
    them. block: so many neighbours stay together, the channels of an attention head where heads are reordered.
    """

    size: int
    writes: tuple[Slot, ...]
    reads: tuple[Slot, ...] = ()
    block: int = 1

    def order(self, importance: Tensor) -> Tensor:
        """int64 [size], the most important channels (or blocks of them) first. importance: [size]."""
        blocks = importance.view(-1, self.block).sum(dim=1).argsort(descending=True, stable=True)
        return (blocks[:, None] * self.block + torch.arange(self.block)).flatten()


def module_slots(name: str, start: int = 0, bias: bool = True) -> tuple[Slot, ...]:
    """The outputs of a layer, or the channels of a norm: ``name.weight`` and ``name.bias``."""
    return tuple(Slot(f"{name}.{kind}", 0, start) for kind in ("weight", "bias")[: 2 if bias else 1])


def reordered(
    state: Mapping[str, Tensor], groups: Iterable[ChannelGroup], orders: Iterable[Tensor]
) -> dict[str, Tensor]:
    """``state`` with the channels of every group in its new order (int64 [size])."""
    state = dict(state)
    for group, order in zip(groups, orders, strict=True):
        for slot in (*group.writes, *group.reads):
            tensor = state[slot.name]
            index = torch.arange(tensor.shape[slot.dim])
            index[slot.start : slot.start + group.size] = slot.start + order
            state[slot.name] = tensor.index_select(slot.dim, index)
    return state
