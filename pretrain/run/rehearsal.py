"""Whether the heaviest step of a run fits into a GPU's memory, found out before the first one.

With dynamic sampling a quarter of the training passes before the first sub-networks run, and the steps that then come
take more than twice the memory. So the heaviest step that the schedule can come to is taken once, and leaves no trace.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from pretrain.common.errors import OutOfMemoryError
from pretrain.data.loader import LoadedBatch

if TYPE_CHECKING:
    from pretrain.trainer import Trainer

STATE = {"sgd": 0, "lars": 1, "adamw": 2}  # tensors a parameter that the optimizer makes in its first step
GIB = 2**30


def rehearse(trainer: "Trainer") -> None:
    """Take the heaviest step of the schedule, on a GPU, and print what it needs.

    Every process must call it. Errors: OutOfMemoryError, one line.
    """
    device, widths = trainer.world.device, trainer.sampler.heaviest()
    if device.type != "cuda":
        return
    torch.cuda.reset_peak_memory_stats(device)
    with fits(trainer, f"the heaviest step, of widths {', '.join(f'{w:g}' for w in widths)},"):
        learnt = [p for p in trainer.model.parameters() if p.requires_grad and not trainer.optimizer.state.get(p)]
        state = [torch.empty_like(p) for p in learnt for _ in range(STATE[trainer.config.optimizer.name])]
        trainer.rehearse(black_images(trainer), widths)
    del state
    peak, total = peak_bytes(trainer), torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()  # blocks of these sizes may never be asked for again
    if trainer.world.is_main:
        named = ", ".join(f"{w:g}" for w in widths)
        print(f"heaviest step: widths {named}, {peak / GIB:.1f} of {total / GIB:.1f} GiB of each GPU", flush=True)


def peak_bytes(trainer: "Trainer") -> int:
    """The most memory of its GPU that torch's tensors had since that was last reset. What a graph keeps for its own
    tensors is known as reserved alone, with whatever else torch holds ready."""
    graphs, device = trainer.config.training.compile == "graphs", trainer.world.device
    return torch.cuda.max_memory_reserved(device) if graphs else torch.cuda.max_memory_allocated(device)


def black_images(trainer: "Trainer") -> LoadedBatch:
    """A batch of this process in the shape of the loader's."""
    config, world = trainer.config, trainer.world
    count, size = config.training.batch_size // world.size, config.data.image_size
    images = torch.zeros(count, trainer.model.views, config.data.channels, size, size, dtype=torch.uint8)
    return LoadedBatch(images, torch.zeros(count, dtype=torch.int64), torch.zeros(count, 2, dtype=torch.int64))


@contextmanager
def fits(trainer: "Trainer", what: str) -> Iterator[None]:
    """OutOfMemoryError, one line that says what helps, where ``what`` is asked of a GPU and does not fit."""
    try:
        yield
    except torch.OutOfMemoryError:
        training, world, device = trainer.config.training, trainer.world, trainer.world.device
        peak, total = peak_bytes(trainer), torch.cuda.get_device_properties(device).total_memory
        helps = [] if training.memory == "low" or training.update == "per_width" else ["training.memory=low"]
        raise OutOfMemoryError(
            f"{what} needs more than the {peak / GIB:.1f} GiB that it had of {total / GIB:.1f} GiB of GPU memory, at "
            f"training.batch_size={training.batch_size} on {world.size} GPU(s); "
            f"expected {' or '.join([*helps, 'a smaller training.batch_size', 'more GPUs'])}"
        ) from None
