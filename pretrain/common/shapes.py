"""Networks for their shapes and counts alone: torch's meta device, without what it computes there for nothing.

Two things take most of a module's time on that device, as torch has no other kernel for them there than their formula
in Python: the random numbers of first weights, and batch norms in eval mode. Neither changes a shape, and none of them
is a multiply-accumulate that ``pretrain.plain.cost`` counts.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode

RANDOM = {torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default}
NORM = torch.ops.aten.native_batch_norm.default


@contextmanager
def shapes_only() -> Iterator[None]:
    """What is made in the block is on the meta device. Tensors of other devices are as ever."""
    with torch.device("meta"), _Shapes():
        yield


class _Shapes(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation in RANDOM and args[0].is_meta:
            return args[0]
        if operation is NORM and args[0].is_meta:
            x, _, _, _, _, training, *_ = args
            if not training:
                return torch.empty_like(x), x.new_empty(0), x.new_empty(0)
        return operation(*args, **(kwargs or {}))
