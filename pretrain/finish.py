"""The end of a pretraining: calibrate the configured widths and write the universal checkpoint."""

import platform
from pathlib import Path

import torch
import torch.distributed as dist
import torchvision
from torch.utils.data import Dataset

from pretrain.common.errors import UserError
from pretrain.common.version import __version__
from pretrain.data.calibration import CalibrationBatches
from pretrain.run.distributed import main_says
from pretrain.run.ownership import check_owner
from pretrain.trainer import Trainer
from pretrain.universal import FILE_NAME, UniversalNetwork, load_universal, network_state, weights_hash
from pretrain.universal.file import checked_header


def metadata(trainer: Trainer, images: int) -> dict:
    """What the universal checkpoint says of itself; nothing that differs between two equal runs."""
    config, teacher = trainer.config, trainer.model.teacher
    data, training, values, weights = config.data, config.training, config.lasting, config.backbone.weights
    return {
        "method": config.method,
        "backbone": trainer.model.backbone.arguments,
        **{section: values[section] for section in ("objective", "sampling", "optimizer")},
        "width_range": list(config.width_range),
        "seed": training.seed,
        "epochs": round(trainer.iterations / max(1, images // training.batch_size), 3),
        "iterations": trainer.iterations,
        **({"continued": trainer.continued} if trainer.continued else {}),
        "batch_size": training.batch_size,
        "precision": trainer.precision,
        "data": {"name": data.name, "images": images, "image_size": data.image_size},
        "mean": list(data.mean),
        "std": list(data.std),
        "channel_order": "RGB" if data.channels == 3 else "file",
        "calibration": {"widths": [], "views": values["calibration"]["views"], "seed": training.seed},
        **({"teacher": teacher.name, "teacher_weights": teacher.described} if teacher else {}),
        **({"start": {**config.backbone.start, "weights": Path(weights).name}} if weights else {}),
        "config": config.hash,
        "lineage": config.lineage,
        "versions": {
            "us3l": __version__, "torch": torch.__version__, "torchvision": torchvision.__version__,
            "python": platform.python_version(),
        },
    }  # fmt: skip


def check_metadata(trainer: Trainer, images: int) -> None:
    """UserError, before anything is trained, for a run whose universal checkpoint could not be written at its end."""
    projector = trainer.model.projector if trainer.config.training.keep_projector else None
    checked_header(metadata(trainer, images), projector)


def is_finished(trainer: Trainer, path: Path) -> bool:
    """Whether ``path`` holds what this run would write, perhaps with more widths that were calibrated since."""
    projector = trainer.model.projector if trainer.config.training.keep_projector else None
    try:
        net = load_universal(path)
    except UserError:
        return False
    same = net.hash == weights_hash(network_state(trainer.model.backbone, projector))
    return same and all(net.is_calibrated(width) for width in trainer.config.calibrated_widths)


def write_universal(trainer: Trainer, images: Dataset, work_dir: Path) -> Path:
    """Calibrate on linear evaluation's training views of the pretraining images and write ``universal.safetensors``."""
    config, world, path = trainer.config, trainer.world, work_dir / FILE_NAME
    if main_says(world.is_main and is_finished(trainer, path), world):
        if world.is_main:
            print("finished already: nothing is left to do", flush=True)
        return path
    projector = trainer.model.projector if config.training.keep_projector else None
    net = UniversalNetwork(trainer.model.backbone, metadata(trainer, len(images)), projector=projector)
    settings, data = config.calibration, config.data
    batches = CalibrationBatches(
        images, settings.views, data.image_size, settings.batch_size, settings.batches, config.training.seed,
        data.mean, data.std, world.rank, world.size, data.on_bad,
    )  # fmt: skip
    net.calibrate(
        batches, config.calibrated_widths, data=data.name, on="pretraining", batch_size=batches.batch_size,
        batches=batches.count,
    )  # fmt: skip
    if world.is_main:
        check_owner(work_dir)
        net.save(path)
        widths = ", ".join(f"{w:g}" for w in net.calibrated_widths)
        done = f"calibrated {widths} on {batches.count} batches"
        print(done if net.needs_calibration else f"no batch norm to calibrate in {config.backbone.name}", flush=True)
    if dist.is_initialized():
        dist.barrier()
    return path
