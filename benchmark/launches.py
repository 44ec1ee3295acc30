"""What a training step asks of a GPU: operations, waits and memory, for each stage of dynamic sampling. Needs no GPU.

The steps run on a device that computes nothing and counts (tests/nullcuda/). Launches, waits and torch's peak are those
of a real GPU; what cuDNN's convolutions need besides their results is not counted, and nothing takes time.
"""

import argparse

from pretrain.common.errors import UserError
from pretrain.config import load_config
from pretrain.configfile import Address
from pretrain.sampling import STAGES

EXAMPLE = "configs/pretrain/us3l_resnet50_imagenet.py training.batch_size=64 --json"
CLASSES = 1000  # of supervised training
ENOUGH = 4096  # GiB of the device: what does not fit anywhere is counted too


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", type=Address.parse, metavar="CONFIG[:ROW]", help="a python config, a row of it: configs/pretrain/"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change settings of the config")


def measure(args: argparse.Namespace) -> dict:
    """Rows: a step in the middle of each stage, as one process takes it."""
    from tests.nullcuda.program import lacking, on_null_device

    config = load_config(args.config, args.overrides)
    if reason := lacking():
        raise UserError(f"launches cannot be counted here: {reason}")
    rows = on_null_device(counted_stages, str(args.config), args.overrides, gibibytes=ENOUGH)
    return {
        "title": f"What a step of {config.method} {config.backbone} asks of a GPU",
        "rows": rows,
        "batch": config.training.batch_size, "image_size": config.data.image_size,
        "memory": config.training.memory, "update": config.training.update,
    }  # fmt: skip


def counted_stages(address: str, overrides: list[str]) -> list[dict]:
    """``measure``'s rows, under the null device."""
    import torch

    from pretrain.run.device import choose_kernels
    from pretrain.run.distributed import World
    from pretrain.run.memory import peak_bytes
    from pretrain.trainer import Trainer
    from tests.nullcuda import counting

    config, device = load_config(Address.parse(address), overrides), torch.device("cuda:0")
    choose_kernels(device, config.training.deterministic)
    trainer = Trainer(config, World(0, 1, device), iterations=2 * STAGES, classes=CLASSES)
    batch = random_batch(config.training.batch_size, trainer.model.num_views, config.data.image_size)
    rows = []
    for stage in range(STAGES):
        torch.cuda.empty_cache()  # what an earlier stage left ready is no need of this one
        for iteration in (2 * stage, 2 * stage + 1):  # the first of a stage may allocate
            counting.reset()
            trainer.step(batch, iteration)
            found = counting.counts()
        rows.append({
            "stage": stage, "widths": trainer.sampler.widths(iteration), "syncs": found.syncs + found.pageable,
            "device_operations": found.operations, "peak_bytes": peak_bytes(config.training, device),
        })  # fmt: skip
    return rows


def random_batch(count: int, views: int, image_size: int):
    """A ``LoadedBatch`` as the loader gives it to a GPU: in pinned memory."""
    import torch

    from pretrain.data.loader import LoadedBatch

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, views, 3, image_size, image_size), dtype=torch.uint8, generator=generator)
    labels, keys = torch.zeros(count, dtype=torch.long), torch.stack([torch.zeros(count), torch.arange(count)], 1)
    return LoadedBatch(images.pin_memory(), labels.pin_memory(), keys.long())
