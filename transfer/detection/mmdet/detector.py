"""Train and evaluate a detector on a pretrained backbone with mmdet: one width, one result.json."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist

from pretrain.errors import NonFiniteLossError, UserError
from pretrain.ownership import owning
from pretrain.plain.cost import cost
from transfer.convert import convert
from transfer.convert.mmdet import check_sayable
from transfer.detection.datasets import CocoData, read_data
from transfer.detection.detectron2 import DETECTORS, on_devices
from transfer.detection.installed import require_detectron2, require_mmdet, without_deprecations
from transfer.detection.metrics import class_metrics, flat_metrics
from transfer.detection.mmdet.recipe import image_size, plain_settings, recipe_path, resolve, summary
from transfer.detection.previous import set_aside
from transfer.detection.processes import Member, is_main_process, join, membership
from transfer.detection.schedule import Schedule
from transfer.detection.settings import Settings
from transfer.detection.voc import VocData
from transfer.results import FILE_NAME, Result, read_result, settings_hash
from transfer.source import Source

TASK = "detection_mmdet"  # the folder of results, beside detectron2's ``detection``


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
    """Convert ``source`` at ``width`` to mmdet, train a detector on it and evaluate; the record of result.json.

    The same as ``transfer.detection.detectron2.detect``, with everything in ``source.folder(output, dataset,
    "detection_mmdet", width)``: the converted backbone, checkpoints, the resolved config, log.txt, mmengine's scalars
    and result.json; what an earlier training left there goes to ``previous/``. Errors: UserError for data, widths,
    backbones or settings that don't fit, before anything trains; NonFiniteLossError.
    """
    require_mmdet()
    if settings.target == "voc":
        require_detectron2()  # whose functions evaluate on VOC, so that both frameworks' figures can be compared
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
            convert(plain, "mmdet", folder / "backbone", source.metadata)
            print(f"{DETECTORS[settings.target]} on {source.backbone} at width {width:g} ({source.method} weights), "
                  "by mmdet", flush=True)  # fmt: skip
        if member:
            join(member, settings.device)
            dist.barrier()
        config = resolve(settings, backbone, data, folder).config  # what is wrong is said before processes start
    known = {
        "task": "detection", "dataset": dataset, "method": source.method, "backbone": source.backbone, "width": width,
        "seed": settings.seed, "checkpoint": source.checkpoint_hash, **vars(cost(plain, image_size(config))),
        "details": {"pretraining": source.pretraining},
    }  # fmt: skip
    launch(Job(settings, data, backbone, folder, f"{source.backbone} x {width:g} {source.method}", known))
    return read_result(folder / FILE_NAME)


@owning("job.folder")  # a second writer refuses to start
def launch(job: Job) -> None:
    """Run the job: in this process if it is alone or the others exist already, else in ``num_gpus`` new ones."""
    from torch.multiprocessing import ProcessRaisedException, spawn

    size = job.settings.num_gpus
    if dist.is_initialized() or size == 1:
        return run(job)
    try:
        spawn(run_as_member, args=(job, size, f"127.0.0.1:{free_port()}"), nprocs=size)
    except ProcessRaisedException as error:  # what a user can mend stays one line, whichever process met it
        last = str(error).strip().splitlines()[-1]
        for kind in (UserError, NonFiniteLossError):
            if f"{kind.__name__}: " in last:
                raise kind(last.split(f"{kind.__name__}: ", 1)[1]) from None
        raise


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run_as_member(rank: int, job: Job, size: int, address: str) -> None:
    """One of ``size`` new processes on this machine."""
    join(Member(rank, size, rank, size, address), job.settings.device)
    try:
        run(job)
    finally:
        dist.destroy_process_group()


def run(job: Job) -> None:
    """One process: train, evaluate; the main process writes result.json."""
    with without_deprecations():
        from transfer.detection.mmdet import training

        start, settings = time.monotonic(), job.settings
        main = not dist.is_initialized() or dist.get_rank() == 0
        if main and not (settings.resume or settings.eval_only):
            set_aside(job.folder, training.LEFT)
        if dist.is_initialized():
            dist.barrier()
        resolved = resolve(settings, job.backbone, job.data, job.folder)
        if main:
            print(summary(resolved, job.data), flush=True)
        plain = plain_settings(resolved.config)
        weights = next(job.backbone.parent.glob("resnet*.pth"))
        results, detector = training.train_and_evaluate(
            resolved.config, job.data, weights, job.title, settings.resume, settings.eval_only
        )
    if main:
        seconds = time.monotonic() - start
        result(job, resolved.schedule, image_size(resolved.config), plain, results, detector, seconds).write(job.folder)
    if dist.is_initialized():
        dist.barrier()


def result(
    job: Job, schedule: Schedule, side: int, plain: dict, results: dict, detector: dict, seconds: float
) -> Result:
    """The record of one training from the evaluation's ``results``."""
    data, target = job.data, job.settings.target
    details = {
        **job.known["details"],
        "framework": "mmdet", "recipe": recipe_path(job.settings).name, "detector": detector,
        "overrides": list(job.settings.overrides), **vars(schedule), "image_size": side,
        "data": data.folder.name, "classes": len(data.classes), "train_images": data.train_count,
        "val_images": data.val_count, "per_class_AP": class_metrics(results, target),
    }  # fmt: skip
    return Result(
        **{**job.known, "details": details},
        metrics=flat_metrics(results, data.object_areas, target), config=settings_hash(plain),
        seconds=round(seconds, 3),
    )  # fmt: skip
