"""Numbers on their way to a device that the host need not wait for."""

from functools import cache

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``. To a GPU it goes from pinned memory, so that the host does not wait for the copy."""
    if device.type == "cpu" or tensor.device == device:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@cache
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """``values`` as [N] on ``device``, made once in a process: to be read only."""
    with torch.inference_mode(False):
        return sent(torch.tensor(values, dtype=dtype), device)
