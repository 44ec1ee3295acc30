"""Train and evaluate a detector on a pretrained backbone with detectron2: one width, one result.json."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pretrain.cli import checked_device
from pretrain.errors import NonFiniteLossError, UserError
from pretrain.ownership import owning
from pretrain.plain.cost import cost
from transfer.convert import convert
from transfer.convert.detectron2 import check_sayable
from transfer.detection.datasets import CocoData, read_data
from transfer.detection.installed import require_detectron2, without_deprecations
from transfer.detection.metrics import class_metrics, flat_metrics
from transfer.detection.previous import set_aside
from transfer.detection.processes import Member, is_main_process, join, membership
from transfer.detection.recipe import plain_settings, recipe_path, resolve, summary
from transfer.detection.resolution import image_size
from transfer.detection.schedule import Schedule
from transfer.detection.settings import Settings
from transfer.detection.voc import VocData
from transfer.results import FILE_NAME, Result, read_result, settings_hash
from transfer.source import Source

TASK = "detection"  # the folder of results
DETECTORS = {"coco": "Mask R-CNN", "voc": "Faster R-CNN"}


@dataclass(frozen=True)
class Job:
    """What every process of one training needs. known: the fields of the Result that are known before it."""

    settings: Settings
    data: CocoData | VocData
    backbone: Path
    folder: Path
    title: str
    known: dict


def detect(source: Source, width: float, settings: Settings, output: Path, dataset: str | None = None) -> dict:
    """Convert ``source`` at ``width`` to detectron2, train a detector on it and evaluate; the record of result.json.

    source: or a ``transfer.weights.PlainSource``. dataset: its name in results, by default the folder's. Everything
    is written to ``source.folder(output, dataset, "detection", width)``: the converted backbone, checkpoints, metrics,
    log.txt, predictions and result.json; what an earlier training left there goes to ``previous/``. Errors: UserError
    for data, widths, backbones or settings that don't fit, before anything trains; NonFiniteLossError.

    Example::

        source = load_source(find_checkpoint(None), "pretrained")
        record = detect(source, 0.5, Settings(recipe=DIGITS, data=Path("scenes")), Path("runs/demo"), "digit_scenes")
        record["metrics"]["box/AP"]
    """
    require_detectron2()
    member = membership()
    settings = on_devices(settings, member)
    data = read_data(settings.target, settings.data, need_train=not settings.eval_only)
    dataset = dataset or data.name
    plain = source.plain(width, settings.seed)
    check_sayable(plain)  # in all processes: none waits for one that has stopped
    folder = source.folder(output, dataset, TASK, width).absolute()
    backbone = folder / "backbone/mask_rcnn_fpn.py"
    with without_deprecations():
        if is_main_process():
            convert(plain, "detectron2", folder / "backbone", source.metadata)
            print(f"{DETECTORS[settings.target]} on {source.backbone} at width {width:g} ({source.method} weights)",
                  flush=True)  # fmt: skip
        if member:
            join_group(member, settings.device)
        from transfer.detection.registration import registered

        with registered(data) as names:  # what is wrong with the settings is said before processes start
            config = resolve(settings, backbone, data, names, folder).config
    known = {
        "task": "detection", "dataset": dataset, "method": source.method, "backbone": source.backbone, "width": width,
        "seed": settings.seed, "checkpoint": source.checkpoint_hash,
        **vars(cost(plain, image_size(config.dataloader))), "details": {"pretraining": source.pretraining},
    }  # fmt: skip
    launch(Job(settings, data, backbone, folder, f"{source.backbone} x {width:g} {source.method}", known))
    return read_result(folder / FILE_NAME)


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


def join_group(member: Member, device: str) -> None:
    """Join the processes that torchrun or SLURM has started, and wait for the backbone that the main one writes."""
    from detectron2.utils import comm

    first = not torch.distributed.is_initialized()
    join(member, device)
    if first:
        comm.create_local_process_group(member.local_size)
    comm.synchronize()


@owning("job.folder")  # a second writer refuses to start
def launch(job: Job) -> None:
    """Run the job: in this process if it is alone or the others exist already, else in ``num_gpus`` new ones."""
    from detectron2.engine import launch as detectron2_launch
    from torch.multiprocessing import ProcessRaisedException

    if torch.distributed.is_initialized():
        return run(job)
    try:
        detectron2_launch(run, job.settings.num_gpus, dist_url="auto", args=(job,))
    except ProcessRaisedException as error:  # what a user can mend stays one line, whichever process met it
        last = str(error).strip().splitlines()[-1]
        for kind in (UserError, NonFiniteLossError):
            if f"{kind.__name__}: " in last:
                raise kind(last.split(f"{kind.__name__}: ", 1)[1]) from None
        raise


def run(job: Job) -> None:
    """One process: train, evaluate; the main process draws predictions and writes result.json."""
    from detectron2.config import LazyConfig
    from detectron2.utils import comm

    from transfer.detection import progress, training
    from transfer.detection.registration import registered

    start, main = time.monotonic(), comm.is_main_process()
    if main and not (job.settings.resume or job.settings.eval_only):
        set_aside(job.folder, training.LEFT)
    with registered(job.data) as names, progress.logging_to(job.folder / "log.txt", main):
        # here, as the norm depends on the number of processes
        resolved = resolve(job.settings, job.backbone, job.data, names, job.folder)
        config = resolved.config
        if main:
            print(summary(resolved, job.data), flush=True)
            LazyConfig.save(config, str(job.folder / "config.yaml"))
        plain = plain_settings(config)
        results, detector = training.train_and_evaluate(config, job.title, job.settings.resume, job.settings.eval_only)
    if main:
        seconds = time.monotonic() - start
        result(job, resolved.schedule, plain, results, detector, seconds).write(job.folder)
    comm.synchronize()


def result(job: Job, schedule: Schedule, plain: dict, results: dict, detector: dict, seconds: float) -> Result:
    """The record of one training from the evaluator's ``results``."""
    data, target = job.data, job.settings.target
    details = {
        **job.known["details"],
        "framework": "detectron2", "recipe": recipe_path(job.settings).name, "detector": detector,
        "overrides": list(job.settings.overrides), **vars(schedule),
        "image_size": plain["dataloader"]["test"]["mapper"]["augmentations"][0]["short_edge_length"],
        "data": data.folder.resolve().name, "classes": len(data.classes), "train_images": data.train_count,
        "val_images": data.val_count, "per_class_AP": class_metrics(results, target),
    }  # fmt: skip
    return Result(
        **{**job.known, "details": details},
        metrics=flat_metrics(results, data.object_areas, target), config=settings_hash(plain),
        seconds=round(seconds, 3),
    )  # fmt: skip
