"""Train and evaluate a detector on a pretrained backbone: one width, one result.json, whichever framework trains."""

import time
from pathlib import Path

import torch.distributed as dist

from pretrain.common.errors import UserError
from pretrain.common.files import file_hash
from pretrain.run.membership import is_main_process, membership
from pretrain.run.ownership import check_owner, owned
from transfer.convert import convert
from transfer.detection import checkpoints
from transfer.detection.data import Data
from transfer.detection.framework import Framework, Training, find_framework
from transfer.detection.job import Job, detector_name, known_before, on_devices, result
from transfer.detection.place import (
    alike,
    as_trained,
    check_recipe,
    evaluated,
    identity,
    place,
    read_run,
    resumed,
    write_run,
)
from transfer.detection.previous import set_aside
from transfer.detection.processes import barrier, join, start
from transfer.detection.progress import FILE_NAME as PROGRESS
from transfer.detection.settings import DetectionSettings
from transfer.installed import without_deprecations
from transfer.results import FILE_NAME, read_result
from transfer.source import Source
from transfer.targets import TARGETS

LEFT = (checkpoints.FOLDER, checkpoints.FINAL, PROGRESS, "log.txt", "predictions")  # by every framework


def detect(source: Source, width: float, settings: DetectionSettings, output: Path, dataset: str | None = None) -> dict:
    """Convert ``source`` at ``width``, train a detector on it and evaluate; the record of result.json.

    source: or a ``transfer.weights.PlainSource``. dataset: its name in results, by default the folder's. Everything
    is written below ``source.folder(output, dataset, task, width)``, at a place of its own for each training
    (``place.py``): the converted backbone, checkpoints, metrics.jsonl, log.txt and result.json. What an earlier start
    of the same training left there goes to ``previous/``. Errors: UserError for data, widths, backbones or settings
    that don't fit, before anything trains; NonFiniteLossError.

    Example::

        source = load_source(find_checkpoint(None), "pretrained")
        settings = DetectionSettings(data=Path("scenes"), iterations=200)
        record = detect(source, 0.5, settings, Path("runs/demo"), "digit_scenes")
        record["metrics"]["box/AP"]
    """
    return read_result(detected(source, width, settings, output, dataset))


def detected(
    source: Source, width: float, settings: DetectionSettings, output: Path, dataset: str | None = None
) -> Path:
    """``detect``, but the path of its result.json."""
    framework = find_framework(settings.framework)
    framework.require(settings.target)
    member = membership()
    settings = on_devices(settings, member)
    name = dataset or TARGETS[settings.target].reader.name_of(settings.data)
    plain = source.plain(width)
    framework.check_sayable(plain)  # in all processes: none waits for one that has stopped
    parent = source.folder(output, name, framework.task, width).absolute()
    settings, data, folder, target, run = located(source, settings, framework, parent)
    with owned(target), without_deprecations():  # a second writer is refused before it writes anything
        if is_main_process():
            print(f"{detector_name(data)} on {source.backbone} at width {width:g} ({source.method} weights), "
                  f"by {framework.name}", flush=True)  # fmt: skip
            prepare(framework, settings, folder, run)
            convert(plain, framework.name, target / "backbone", source.metadata)
            data.prepared(parent.parents[1] / "annotations", write=True)
        if member:
            join(settings.device, member, framework.joined)
        barrier()
        [backbone] = target.glob(f"backbone/{framework.reads}")
        data = data.prepared(parent.parents[1] / "annotations", write=False)
        config = framework.resolve(settings, backbone, data, target).config  # said before processes start
        known = known_before(source, plain, width, settings.seed, name, framework.image_size(config))
        [weights] = target.glob("backbone/*.pth")
        title = f"{source.backbone} x {width:g} {source.method}"
        job = Job(settings, data, backbone, weights, file_hash(weights), folder, target, title, known)
        start(run_job, job, settings.num_gpus, settings.device, framework.joined)
    return target / FILE_NAME


def located(
    source: Source, settings: DetectionSettings, framework: Framework, parent: Path
) -> tuple[DetectionSettings, Data, Path, Path, dict]:
    """DetectionSettings as trained, the data, the training's folder, the result's, and what determines the training."""
    folder, trained = None, None
    if settings.eval_only:
        folder = evaluated(parent, source.checkpoint_hash, settings, framework.recipe_path(settings))
        trained = read_run(folder)
        settings = as_trained(settings, trained)
    known = trained and trained["classes"]
    data = TARGETS[settings.target].reader.read(settings.data, not settings.eval_only, known, settings.boxes_only)
    run = identity(source, settings, framework.recipe_path(settings), data)
    if trained:
        check_recipe(folder, trained, framework.recipe_path(settings))
        return settings, data, folder, folder if alike(run, trained) else place(parent, run), trained
    folder = resumed(parent, run) if settings.resume else place(parent, run)
    return settings, data, folder, folder, run


def prepare(framework: Framework, settings: DetectionSettings, folder: Path, run: dict) -> None:
    """Make ``folder`` that of the training ``run``: where it stopped, or anew, as it is also without a checkpoint."""
    if settings.eval_only:
        return
    if not (settings.resume and checkpoints.present(folder)):
        set_aside(folder, (*LEFT, *framework.left))
    write_run(folder, run)


def run_job(job: Job) -> None:
    """One process: train, evaluate; the main process writes result.json."""
    framework, settings = find_framework(job.settings.framework), job.settings
    began, main = time.monotonic(), not dist.is_initialized() or dist.get_rank() == 0
    if file_hash(job.weights) != job.weights_hash:
        raise UserError(f"{job.weights} is not the backbone that was converted for this training; start it again")
    path = checkpoints.newest(job.folder) if settings.resume or settings.eval_only else None
    barrier()  # all have found the newest before another is written
    with without_deprecations(), framework.session(job, main):
        resolved = framework.resolve(settings, job.backbone, job.data, job.place)
        if main:
            print(framework.summary(resolved, job.data), flush=True)
        values = framework.settings_values(resolved.config)
        training = framework.training(job, resolved.config)
        trained(training, job, path, main)
        failure, results, detector = None, {}, {}
        try:
            results, detector = training.evaluate()
        except Exception as error:
            failure = error
    if main and not (failure and settings.eval_only):
        check_owner(job.place)
        result(
            job, framework.recipe_path(settings), framework.image_size(resolved.config), resolved.schedule, values,
            results, detector, time.monotonic() - began, failure and one_line(failure),
        ).write(job.place)  # fmt: skip
    if failure and isinstance(failure, UserError) and not settings.eval_only:
        raise UserError(f"the training is kept in {job.folder}, but its evaluation failed: {one_line(failure)}; "
                        "--eval-only goes on") from None  # fmt: skip
    if failure:
        raise failure
    barrier()


def one_line(error: Exception) -> str:
    """What an error says; a loader's worker wraps it in its traceback, whose last line is the message."""
    last = (str(error).strip().splitlines() or [""])[-1].rpartition("UserError: ")[2]
    return last if isinstance(error, UserError) else f"{type(error).__name__}: {last}"


def trained(training: Training, job: Job, path: Path | None, main: bool) -> None:
    """Train, or take the weights of the training that is evaluated. path: the checkpoint that it starts from."""
    if job.settings.eval_only:
        if path is None:
            raise UserError(f"--eval-only, but {job.folder} holds no checkpoint; train first, without --eval-only")
        training.load(checkpoints.load(path))
        return
    training.train(checkpoints.load(path) if path else None)
    if main:
        checkpoints.save_final(job.folder, training.final())
