"""Train and evaluate a detector on a pretrained backbone with mmdet: one width, one result.json."""

import time
from pathlib import Path

import torch.distributed as dist

from pretrain.run.distributed import join_world
from pretrain.run.membership import Member, is_main_process, membership
from pretrain.run.ownership import owning
from transfer.convert import convert
from transfer.convert.mmdet import check_sayable
from transfer.detection.job import Job, errors_in_one_line, known_before, on_devices, result
from transfer.detection.mmdet.recipe import plain_settings, recipe_path, resolve, summary
from transfer.detection.mmdet.resolution import image_size
from transfer.detection.previous import set_aside
from transfer.detection.settings import Settings
from transfer.installed import require_detectron2, require_mmdet, without_deprecations
from transfer.results import FILE_NAME, read_result
from transfer.source import Source
from transfer.targets import TARGETS

TASK = "detection_mmdet"  # the folder of results, beside detectron2's ``detection``


def detect(source: Source, width: float, settings: Settings, output: Path, dataset: str | None = None) -> dict:
    """Convert ``source`` at ``width`` to mmdet, train a detector on it and evaluate; the record of result.json.

    The same as ``transfer.detection.detectron2.detector.detect``, with everything in ``source.folder(output, dataset,
    "detection_mmdet", width)``: the converted backbone, checkpoints, the resolved config, log.txt, mmengine's scalars
    and result.json; what an earlier training left there goes to ``previous/``. Errors: UserError for data, widths,
    backbones or settings that don't fit, before anything trains; NonFiniteLossError.
    """
    require_mmdet()
    if settings.target == "voc":
        require_detectron2()  # whose functions evaluate on VOC, so that both frameworks' figures can be compared
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
            convert(plain, "mmdet", folder / "backbone", source.metadata)
            what = f"{target.detector} on {source.backbone} at width {width:g} ({source.method} weights)"
            print(f"{what}, by mmdet", flush=True)
        if member:
            join_world(settings.device)
            dist.barrier()
        config = resolve(settings, backbone, data, folder).config  # what is wrong is said before processes start
    known = known_before(source, plain, width, settings.seed, dataset, image_size(config))
    launch(Job(settings, data, backbone, folder, f"{source.backbone} x {width:g} {source.method}", known))
    return read_result(folder / FILE_NAME)


@owning("job.folder")  # a second writer refuses to start
def launch(job: Job) -> None:
    """Run the job: in this process if it is alone or the others exist already, else in ``num_gpus`` new ones."""
    from torch.multiprocessing import spawn

    size = job.settings.num_gpus
    if dist.is_initialized() or size == 1:
        return run(job)
    with errors_in_one_line():
        spawn(run_as_member, args=(job, size, f"127.0.0.1:{free_port()}"), nprocs=size)


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run_as_member(rank: int, job: Job, size: int, address: str) -> None:
    """One of ``size`` new processes on this machine."""
    join_world(job.settings.device, Member(rank, size, rank, size, address))
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
        result(
            job, "mmdet", recipe_path(settings).name, image_size(resolved.config),
            resolved.schedule, plain, results, detector, time.monotonic() - start,
        ).write(job.folder)  # fmt: skip
    if dist.is_initialized():
        dist.barrier()
