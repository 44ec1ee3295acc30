"""Whether the heaviest step of a run fits into a GPU's memory, found out before the first one.

With dynamic sampling a quarter of the training passes before the first sub-networks run, and the steps that then come
take more than twice the memory. So the heaviest step that the schedule can come to is taken once, and leaves no trace.
"""

from typing import TYPE_CHECKING

import torch

from pretrain.data.loader import LoadedBatch
from pretrain.optim import made_later
from pretrain.run.memory import GIB, fits, peak_bytes

if TYPE_CHECKING:
    from pretrain.trainer import Trainer


def rehearse(trainer: "Trainer") -> None:
    """Take the heaviest step of the schedule, on a GPU, and print what it needs.

    Every process must call it. Errors: OutOfMemoryError, one line.
    """
    training, world, widths = trainer.config.training, trainer.world, trainer.sampler.heaviest()
    if world.device.type != "cuda":
        return
    torch.cuda.reset_peak_memory_stats(world.device)
    named = ", ".join(f"{w:g}" for w in widths)
    with fits(training, world, f"the heaviest step, of widths {named},"):
        learnt = [p for p in trainer.model.parameters() if p.requires_grad and not trainer.optimizer.state.get(p)]
        state = [torch.empty_like(p) for p in learnt for _ in range(made_later(trainer.config.optimizer))]
        trainer.rehearse(black_images(trainer), widths)
    del state
    peak, total = peak_bytes(training, world.device), torch.cuda.get_device_properties(world.device).total_memory
    torch.cuda.empty_cache()  # blocks of these sizes may never be asked for again
    if world.is_main:
        print(f"heaviest step: widths {named}, {peak / GIB:.1f} of {total / GIB:.1f} GiB of each GPU", flush=True)


def black_images(trainer: "Trainer") -> LoadedBatch:
    """A batch of this process in the shape of the loader's."""
    config, world = trainer.config, trainer.world
    count, size = config.training.batch_size // world.size, config.data.image_size
    images = torch.zeros(count, trainer.model.num_views, config.data.channels, size, size, dtype=torch.uint8)
    return LoadedBatch(images, torch.zeros(count, dtype=torch.int64), torch.zeros(count, 2, dtype=torch.int64))
