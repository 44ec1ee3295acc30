"""Train and evaluate a detector on a pretrained backbone with detectron2: one width, one result.json."""

import time
from pathlib import Path

import torch

from pretrain.run.distributed import join_world
from pretrain.run.membership import Member, is_main_process, membership
from pretrain.run.ownership import owning
from transfer.convert import convert
from transfer.convert.detectron2 import check_sayable
from transfer.detection.detectron2.recipe import plain_settings, recipe_path, resolve, summary
from transfer.detection.detectron2.resolution import image_size
from transfer.detection.job import Job, errors_in_one_line, known_before, on_devices, result
from transfer.detection.previous import set_aside
from transfer.detection.settings import Settings
from transfer.installed import require_detectron2, without_deprecations
from transfer.results import FILE_NAME, read_result
from transfer.source import Source
from transfer.targets import TARGETS

TASK = "detection"  # the folder of results


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
    target = TARGETS[settings.target]
    data = target.reader.read(settings.data, need_train=not settings.eval_only)
    dataset = dataset or data.name
    plain = source.plain(width, settings.seed)
    check_sayable(plain)  # in all processes: none waits for one that has stopped
    folder = source.folder(output, dataset, TASK, width).absolute()
    backbone = folder / "backbone/mask_rcnn_fpn.py"
    with without_deprecations():
        if is_main_process():
            convert(plain, "detectron2", folder / "backbone", source.metadata)
            print(f"{target.detector} on {source.backbone} at width {width:g} ({source.method} weights)", flush=True)
        if member:
            join_group(member, settings.device)
        from transfer.detection.detectron2.registration import registered

        with registered(data) as names:  # what is wrong with the settings is said before processes start
            config = resolve(settings, backbone, data, names, folder).config
    known = known_before(source, plain, width, settings.seed, dataset, image_size(config.dataloader))
    launch(Job(settings, data, backbone, folder, f"{source.backbone} x {width:g} {source.method}", known))
    return read_result(folder / FILE_NAME)


def join_group(member: Member, device: str) -> None:
    """Join the processes that torchrun or SLURM has started, and wait for the backbone that the main one writes."""
    from detectron2.utils import comm

    first = not torch.distributed.is_initialized()
    join_world(device)
    if first:
        comm.create_local_process_group(member.local_size)
    comm.synchronize()


@owning("job.folder")  # a second writer refuses to start
def launch(job: Job) -> None:
    """Run the job: in this process if it is alone or the others exist already, else in ``num_gpus`` new ones."""
    from detectron2.engine import launch as detectron2_launch

    if torch.distributed.is_initialized():
        return run(job)
    with errors_in_one_line():
        detectron2_launch(run, job.settings.num_gpus, dist_url="auto", args=(job,))


def run(job: Job) -> None:
    """One process: train, evaluate; the main process draws predictions and writes result.json."""
    from detectron2.config import LazyConfig
    from detectron2.utils import comm

    from transfer.detection.detectron2 import progress, training
    from transfer.detection.detectron2.registration import registered

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
        result(
            job, "detectron2", recipe_path(job.settings).name,
            plain["dataloader"]["test"]["mapper"]["augmentations"][0]["short_edge_length"],
            resolved.schedule, plain, results, detector, time.monotonic() - start,
        ).write(job.folder)  # fmt: skip
    comm.synchronize()
