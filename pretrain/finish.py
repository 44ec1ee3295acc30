"""The end of a pretraining: calibrate the configured widths and write the universal checkpoint."""

import platform
from pathlib import Path

import torch
import torch.distributed as dist
import torchvision
from torch import nn
from torch.utils.data import Dataset

from pretrain.config import PretrainConfig
from pretrain.data.loader import CalibrationBatches
from pretrain.distributed import World
from pretrain.universal import UniversalNetwork
from pretrain.version import __version__


def metadata(config: PretrainConfig, images: int, iterations: int) -> dict:
    """What the universal checkpoint says of itself; nothing that differs between two equal runs."""
    data, training, values = config.data, config.training, config.as_dict()
    return {
        "method": config.method,
        "backbone": values["backbone"],
        **{section: values[section] for section in ("objective", "sampling", "optimizer")},
        "width_range": list(config.width_range),
        "seed": training.seed,
        "epochs": round(iterations * training.batch_size / images, 3),
        "iterations": iterations,
        "batch_size": training.batch_size,
        "data": {"name": data.name, "images": images, "image_size": data.image_size},
        "mean": list(data.mean),
        "std": list(data.std),
        "channel_order": "RGB",
        "calibration": {"widths": [], "views": values["calibration"]["views"], "seed": training.seed},
        "config": config.hash,
        "versions": {
            "us3l": __version__, "torch": torch.__version__, "torchvision": torchvision.__version__,
            "python": platform.python_version(),
        },
    }  # fmt: skip


def write_universal(
    config: PretrainConfig, backbone: nn.Module, source: Dataset, iterations: int, world: World, work_dir: Path
) -> Path:
    """Calibrate on linear evaluation's training views of the pretraining images and write ``universal.safetensors``."""
    net = UniversalNetwork(backbone, metadata(config, len(source), iterations))
    settings, data = config.calibration, config.data
    batches = CalibrationBatches(
        source, settings.views, data.image_size, settings.batch_size, settings.batches, config.training.seed,
        data.mean, data.std, world.rank, world.size,
    )  # fmt: skip
    net.calibrate(batches, list(settings.widths), batch_size=batches.batch_size, batches=batches.count)
    path = work_dir / "universal.safetensors"
    if world.is_main:
        net.save(path)
        print(f"calibrated {', '.join(f'{w:g}' for w in net.calibrated_widths)} on {batches.count} batches", flush=True)
    if dist.is_initialized():
        dist.barrier()
    return path
