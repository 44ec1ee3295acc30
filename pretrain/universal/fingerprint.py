"""Whether weights have changed since they were last looked at, for a price that every forward pass can pay.

torch counts the in-place changes of every tensor; the few that it does not count, of ``tensor.data``, mostly show in
some elements of each. A changed fingerprint says only that the weights are to be hashed.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

SAMPLES = 4  # elements of each tensor


def fingerprint(tensors: Iterable[Tensor]) -> tuple:
    """Equal for weights that nobody touched: where they are, how often they were changed, on CPUs some of them."""
    tensors = [tensor.detach() for tensor in tensors]
    where = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)
    # a GPU would have to be waited for
    seen = [t for t in tensors if t.device.type == "cpu"]
    some = [t.as_strided((min(SAMPLES, t.numel()),), (max(1, t.numel() // SAMPLES),)) for t in seen]
    return where, tuple(torch.cat(some).tolist()) if some else ()
