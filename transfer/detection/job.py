"""What one training of a detector is, whichever framework trains it: its processes, its errors, its result.json."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pretrain.common.cli import checked_device
from pretrain.common.errors import NonFiniteLossError, UserError
from pretrain.plain.cost import cost
from pretrain.run.membership import Member
from transfer.detection.data.coco import CocoData
from transfer.detection.data.voc import VocData
from transfer.detection.evaluation.metrics import class_metrics, flat_metrics
from transfer.detection.schedule import Schedule
from transfer.detection.settings import Settings
from transfer.results import Result, settings_hash
from transfer.source import Source


@dataclass(frozen=True)
class Job:
    """What every process of one training needs. known: the fields of the Result that are known before it."""

    settings: Settings
    data: CocoData | VocData
    backbone: Path
    folder: Path
    title: str
    known: dict


def known_before(
    source: Source, plain: torch.nn.Module, width: float, seed: int, dataset: str, image_size: int
) -> dict:  # fmt: skip
    """Fields of the Result. params and macs are those of the plain backbone at ``image_size`` px."""
    return {
        "task": "detection", "dataset": dataset, "method": source.method, "backbone": source.backbone, "width": width,
        "seed": seed, "checkpoint": source.checkpoint_hash, **vars(cost(plain, image_size)),
        "details": {"pretraining": source.pretraining},
    }  # fmt: skip


def on_devices(settings: Settings, member: Member | None = None) -> Settings:
    """``settings`` with the device and the number of processes. UserError for more processes than GPUs."""
    device, present = checked_device(settings.device), torch.cuda.device_count()
    if member is not None:
        if settings.num_gpus not in (1, member.size, member.local_size):
            raise UserError(f"--num-gpus {settings.num_gpus}, but {member.size} processes were started")
        return replace(settings, device=device, num_gpus=member.size)
    if device == "cuda" and settings.num_gpus > present:
        raise UserError(f"--num-gpus {settings.num_gpus}, but this machine has {present}")
    return replace(settings, device=device)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """What a user can mend stays one line, whichever of the new processes met it."""
    from torch.multiprocessing import ProcessRaisedException

    try:
        yield
    except ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]
        for kind in (UserError, NonFiniteLossError):
            if f"{kind.__name__}: " in last:
                raise kind(last.split(f"{kind.__name__}: ", 1)[1]) from None
        raise


def result(
    job: Job, framework: str, recipe: str, image_size: int, schedule: Schedule, settings: dict, results: dict,
    detector: dict, seconds: float,
) -> Result:  # fmt: skip
    """The record of one training. settings: of the resolved recipe; results: the evaluator's; detector: its costs."""
    data, target = job.data, job.settings.target
    details = {
        **job.known["details"],
        "target": target, "framework": framework, "recipe": recipe, "detector": detector,
        "overrides": list(job.settings.overrides),
        **vars(schedule), "image_size": image_size, "data": data.folder.resolve().name, "classes": len(data.classes),
        "train_images": data.train_count, "val_images": data.val_count, "per_class_AP": class_metrics(results, target),
    }  # fmt: skip
    return Result(
        **{**job.known, "details": details},
        metrics=flat_metrics(results, data.object_areas, target), config=settings_hash(settings),
        seconds=round(seconds, 3),
    )  # fmt: skip
