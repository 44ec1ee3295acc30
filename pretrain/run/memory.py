"""A GPU's memory: how much of it was needed, and one line where it was not enough."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pretrain.common.errors import OutOfMemoryError
from pretrain.run.distributed import World
from pretrain.sections import TrainingSettings

GIB = 2**30


def peak_bytes(training: TrainingSettings, device: torch.device) -> int:
    """The most memory of ``device`` that tensors had since that was last reset. What a CUDA graph keeps for its own
    tensors is known as reserved alone, with whatever else torch holds ready."""
    graphs = training.compile == "graphs"
    return torch.cuda.max_memory_reserved(device) if graphs else torch.cuda.max_memory_allocated(device)


@contextmanager
def fits(training: TrainingSettings, world: World, what: str) -> Iterator[None]:
    """OutOfMemoryError, one line that says what helps, where ``what`` is asked of a GPU and does not fit."""
    try:
        yield
    except torch.OutOfMemoryError:
        peak = peak_bytes(training, world.device)
        total = torch.cuda.get_device_properties(world.device).total_memory
        helps = [] if training.memory == "low" or training.update == "per_width" else ["training.memory=low"]
        raise OutOfMemoryError(
            f"{what} needs more than the {peak / GIB:.1f} GiB that it had of {total / GIB:.1f} GiB of GPU memory, at "
            f"training.batch_size={training.batch_size} on {world.size} GPU(s); "
            f"expected {' or '.join([*helps, 'a smaller training.batch_size', 'more GPUs'])}"
        ) from None
