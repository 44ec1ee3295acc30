"""Train and evaluate Mask R-CNN on a pretrained backbone with detectron2: one width, one result.json."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pretrain.cli import checked_device
from pretrain.errors import NonFiniteLossError, UserError
from pretrain.plain.cost import cost
from transfer.convert import convert
from transfer.detection.datasets import CocoData, read_coco, registered
from transfer.detection.installed import require_detectron2, without_deprecations
from transfer.detection.metrics import class_metrics, flat_metrics
from transfer.detection.recipe import Settings, plain_settings, resolve, summary
from transfer.results import Result, read_result, result_folder, settings_hash
from transfer.source import Source


@dataclass(frozen=True)
class Job:
    """What every process of one training needs. known: the fields of the Result that are known before it."""

    settings: Settings
    data: CocoData
    backbone: Path
    folder: Path
    title: str
    known: dict


def detect(source: Source, width: float, settings: Settings, output: Path, dataset: str | None = None) -> dict:
    """Convert ``source`` at ``width`` to detectron2, train Mask R-CNN on it and evaluate; the record of result.json.

    dataset: its name in results, by default the folder's. Everything is written to
    ``output/<dataset>/detection/width_<w>[_random]/``: the converted backbone, checkpoints, metrics, log.txt and
    result.json. Errors: UserError for data, widths, backbones or settings that don't fit, before anything trains;
    NonFiniteLossError.

    Example::

        source = load_source(find_checkpoint(None), "pretrained")
        record = detect(source, 0.5, Settings(recipe=DIGITS, data=Path("scenes")), Path("runs/demo"), "digit_scenes")
        record["metrics"]["box/AP"]
    """
    require_detectron2()
    settings = on_devices(settings)
    data = read_coco(settings.data, need_train=not settings.eval_only)
    dataset = dataset or data.folder.resolve().name
    plain = plain_backbone(source, width, settings.seed)
    folder = result_folder(output, dataset, "detection", width, source.method).absolute()
    backbone = convert(plain, "detectron2", folder / "backbone", source.net.metadata)[0]
    with without_deprecations(), registered(data) as names:
        config = resolve(settings, backbone, data, names, folder)
    print(f"Mask R-CNN on {source.backbone} at width {width:g} ({source.method} weights)", flush=True)
    image_size = config.dataloader.test.mapper.augmentations[0].short_edge_length
    known = {
        "task": "detection", "dataset": dataset, "method": source.method, "backbone": source.backbone, "width": width,
        "seed": settings.seed, "checkpoint": source.checkpoint_hash, **vars(cost(plain, image_size)),
        "details": {"pretraining": source.pretraining},
    }  # fmt: skip
    launch(Job(settings, data, backbone, folder, f"{source.backbone} x {width:g} {source.method}", known))
    return read_result(folder / "result.json")


def on_devices(settings: Settings) -> Settings:
    """``settings`` with the device filled in. UserError for more processes than GPUs."""
    device = checked_device(settings.device)
    if settings.num_gpus < 1 or (device == "cuda" and settings.num_gpus > torch.cuda.device_count()):
        raise UserError(f"--num-gpus {settings.num_gpus}, but this machine has {torch.cuda.device_count()}")
    return Settings(**{**vars(settings), "device": device})


def plain_backbone(source: Source, width: float, seed: int) -> nn.Module:
    """The plain network of ``width``: pretrained and calibrated, or with weights drawn by ``seed``."""
    source.check_widths([width])
    if not source.is_random:
        return source.net.extract(width)
    channels = source.net.backbone.channels(width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return source.net.backbone.plain(channels).eval()


def launch(job: Job) -> None:
    """Run the job in ``num_gpus`` processes, in this one if that is 1."""
    from detectron2.engine import launch as detectron2_launch
    from torch.multiprocessing import ProcessRaisedException

    try:
        detectron2_launch(run, job.settings.num_gpus, dist_url="auto", args=(job,))
    except ProcessRaisedException as error:  # what a user can mend stays one line, whichever process met it
        last = str(error).strip().splitlines()[-1]
        for kind in (UserError, NonFiniteLossError):
            if f"{kind.__name__}: " in last:
                raise kind(last.split(f"{kind.__name__}: ", 1)[1]) from None
        raise


def run(job: Job) -> None:
    """One process: train, evaluate; the main process writes result.json."""
    from detectron2.config import LazyConfig
    from detectron2.utils import comm

    from transfer.detection import progress, training

    start, main = time.monotonic(), comm.is_main_process()
    if main and not (job.settings.resume or job.settings.eval_only):
        training.clear(job.folder)
    with registered(job.data) as names, progress.logging_to(job.folder / "log.txt", main):
        config = resolve(job.settings, job.backbone, job.data, names, job.folder)
        if main:
            print(summary(config, job.data), flush=True)  # here, as the norm depends on the number of processes
            LazyConfig.save(config, str(job.folder / "config.yaml"))
        settings = plain_settings(config)
        results, detector = training.train_and_evaluate(config, job.title, job.settings.resume, job.settings.eval_only)
    if main:
        result(job, settings, results, detector, time.monotonic() - start).write(job.folder)


def result(job: Job, settings: dict, results: dict, detector, seconds: float) -> Result:
    """The record of one training from COCOEvaluator's ``results``."""
    loader, data = settings["dataloader"]["train"], job.data
    details = {
        **job.known["details"],
        "framework": "detectron2", "recipe": job.settings.recipe.name, "overrides": list(job.settings.overrides),
        "iterations": settings["train"]["max_iter"], "batch": loader["total_batch_size"],
        "learning_rate": settings["optimizer"]["lr"],
        "image_size": settings["dataloader"]["test"]["mapper"]["augmentations"][0]["short_edge_length"],
        "processes": job.settings.num_gpus, "data": data.folder.name, "classes": len(data.classes),
        "train_images": data.train.image_count if data.train else None, "val_images": data.val.image_count,
        "detector": vars(detector), "per_class_AP": class_metrics(results),
    }  # fmt: skip
    return Result(
        **{**job.known, "details": details},
        metrics=flat_metrics(results, data.val.object_areas), config=settings_hash(settings), seconds=round(seconds, 3),
    )  # fmt: skip
