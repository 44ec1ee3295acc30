"""What one training of a detector is, whichever framework trains it: its processes and its result.json."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pretrain.common.cli import checked_device
from pretrain.common.errors import UserError
from pretrain.plain.cost import cost
from pretrain.run.membership import Member
from transfer.detection.data import Data
from transfer.detection.evaluation.metrics import class_metrics, flat_metrics
from transfer.detection.schedule import Schedule
from transfer.detection.settings import DetectionSettings
from transfer.recipes import recipe_hash
from transfer.results import Result, named, settings_hash
from transfer.source import Source


@dataclass(frozen=True)
class Job:
    """What every process of one training needs.

    backbone: config that the converter wrote. weights: its weights' file; weights_hash: of the bytes that were written.
    folder: where the training lies; place: where the result goes, the same but for an evaluation with other settings.
    known: the fields of the Result that are known before the training.
    """

    settings: DetectionSettings
    data: Data
    backbone: Path
    weights: Path
    weights_hash: str
    folder: Path
    place: Path
    title: str
    known: dict


def known_before(
    source: Source, plain: torch.nn.Module, width: float, seed: int, dataset: str, image_size: int
) -> dict:
    """Fields of the Result. params and macs are those of the plain backbone at ``image_size`` px."""
    method, plan = named(source.method, width)
    return {
        "task": "detection", "dataset": dataset, "method": method, "backbone": source.backbone, "width": width,
        "seed": seed, "checkpoint": source.checkpoint_hash, **vars(cost(plain, image_size)),
        "details": {"architecture": source.architecture, "pretraining": source.pretraining, **plan},
    }  # fmt: skip


def on_devices(settings: DetectionSettings, member: Member | None = None) -> DetectionSettings:
    """``settings`` with the device and the number of processes. UserError for more processes than GPUs."""
    device, present = checked_device(settings.device), torch.cuda.device_count()
    if member is not None:
        if settings.num_gpus not in (1, member.size, member.local_size):
            raise UserError(f"--num-gpus {settings.num_gpus}, but {member.size} processes were started")
        return replace(settings, device=device, num_gpus=member.size)
    if device == "cuda" and settings.num_gpus > present:
        raise UserError(f"--num-gpus {settings.num_gpus}, but this machine has {present}")
    return replace(settings, device=device)


def detector_name(data: Data) -> str:
    return "Mask R-CNN" if data.has_masks else "Faster R-CNN"


def result(
    job: Job, recipe: Path, image_size: int, schedule: Schedule, settings: dict, results: dict, detector: dict,
    seconds: float, failed: str | None = None,
) -> Result:  # fmt: skip
    """The record of one training. settings: of the resolved recipe; results: the evaluator's; detector: its costs.

    failed: why the evaluation failed, when every metric is undefined.
    """
    data, target = job.data, job.settings.target
    details = {
        **job.known["details"],
        "target": target, "framework": job.settings.framework, "recipe": recipe.name,
        "recipe_hash": recipe_hash(recipe)[:12], "masks": data.has_masks, "detector": detector,
        "overrides": list(job.settings.overrides), **vars(schedule), "image_size": image_size,
        "data": data.folder.resolve().name, "classes": len(data.classes), "train_images": data.train_count,
        "val_images": data.val_count, "annotations": data.hash[:12],
        "per_class_AP": class_metrics(results, target, data.has_masks),
        **({} if failed is None else {"failed": failed}),
    }  # fmt: skip
    areas = () if failed else data.object_areas
    return Result(
        **{**job.known, "details": details},
        metrics=flat_metrics(results, areas, target, data.has_masks), config=settings_hash(settings),
        seconds=round(seconds, 3),
    )  # fmt: skip
