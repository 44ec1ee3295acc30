"""Values where a program needs some, under the null device: what is checked holds, and counts are those of the host."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
COUNTING = {"nonzero", "_unique2", "unique_dim", "masked_select", "repeat_interleave", "nms"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Plausible(TorchDispatchMode):
    """While it is active ``all`` and ``any`` are true, and what counts, such as ``nonzero``, counts what memory holds.

    Kernels are empty: every check would fail that a detector makes of its boxes, and a count be what lay there before.
    """

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, name = kwargs or {}, operator.overloadpacket.__name__.rpartition(".")[2]
        device = next((leaf.device for leaf in tree_leaves(args) if isinstance(leaf, Tensor)), None)
        if device is None or device.type == "cpu":
            return operator(*args, **kwargs)
        if operator in (aten.all.default, aten.any.default):
            return torch.ones((), dtype=torch.bool).to(device)
        if name in INDEXING:
            return operator(args[0], [place for index in args[1] for place in places(index)], *args[2:], **kwargs)
        if name in COUNTING:
            args, kwargs = tree_map_only(Tensor, Tensor.cpu, (args, kwargs))
            return tree_map_only(Tensor, lambda tensor: tensor.to(device), operator(*args, **kwargs))
        return operator(*args, **kwargs)


def places(index: Tensor | None) -> tuple[Tensor | None, ...]:
    """What indexes as ``index`` does: of a mask, which is counted wherever it is used, where it is true."""
    if index is None or index.dtype != torch.bool:
        return (index,)
    return tuple(place.to(index.device) for place in index.cpu().nonzero(as_tuple=True))
