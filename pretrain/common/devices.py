"""Numbers on their way to a device, and back, with as little waiting as there can be."""

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

Item, Found = TypeVar("Item"), TypeVar("Found")


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``. To a GPU it goes from pinned memory, so that the host does not wait for the copy."""
    if device.type == "cpu" or tensor.device == device:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def every(device: str) -> list[str]:
    """What ``cuda`` without a number stands for where work can be shared: all visible GPUs. Any other device alone."""
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] if device == "cuda" else [device]


def in_turn(items: Iterable[Item], launch: Callable[[Item, int], Found], count: int) -> Iterator[Found]:
    """``launch(item, turn)`` of every item, turn = 0, .., count - 1, 0, ..; what it finds, in the order of the items.

    The first is given out once ``count`` of them are under way: who then waits for it keeps no other device waiting.
    """
    under_way: deque[Found] = deque()
    for number, item in enumerate(items):
        under_way.append(launch(item, number % count))
        if len(under_way) == count:
            yield under_way.popleft()
    yield from under_way


@cache
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """``values`` as [N] on ``device``, made once in a process: to be read only."""
    with torch.inference_mode(False):
        return sent(torch.tensor(values, dtype=dtype), device)


def on_host(state: Any) -> Any:
    """A copy of nested dicts, lists and tuples of simple values whose tensors lie in the host's memory, and nowhere
    else. From a GPU all go to pinned memory, one after the other, and are waited for once.
    """
    copies: dict[_Place, Tensor] = {}  # a tensor that is there twice, under two names, is copied once
    found = _copied(state, copies)
    for device in {place.device for place in copies if place.device.type == "cuda"}:
        torch.cuda.current_stream(device).synchronize()
    return found


class _Place(NamedTuple):
    device: torch.device
    address: int
    dtype: torch.dtype
    shape: torch.Size
    strides: tuple[int, ...]


def _copied(value: Any, copies: dict[_Place, Tensor]) -> Any:
    if isinstance(value, Tensor):
        value = value.detach()
        place = _Place(value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        if place not in copies:
            copied = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
            copies[place] = copied.copy_(value, non_blocking=True)
        return copies[place].detach()
    if isinstance(value, dict):
        copied = copy.copy(value)  # with the attributes that torch gives its dicts of states
        copied.update((key, _copied(item, copies)) for key, item in value.items())
        return copied
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item, copies) for item in value)
    return value
