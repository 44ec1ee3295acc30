"""The training loop: one process or many, CPU or GPU, resumable to the last byte.

Left out on purpose: gradient accumulation over batches and early stopping.
"""

import dataclasses
import sys
import time
from contextlib import nullcontext
from functools import partial
from math import isfinite
from pathlib import Path

import torch

from pretrain.common.errors import NonFiniteLossError, UserError
from pretrain.config import PretrainConfig
from pretrain.data.images.datasets import image_dataset
from pretrain.data.images.identity import labels_hash
from pretrain.data.images.memory import in_memory
from pretrain.data.loader import CutViews, LoadedBatch, view_loader
from pretrain.data.order import IterationBatches
from pretrain.data.shared_memory import check_shared_memory
from pretrain.finish import check_metadata, write_universal
from pretrain.monitor import CollapseWatch, NearestNeighbours
from pretrain.run.background import BackgroundCheckpoints
from pretrain.run.bad_images import BadImages
from pretrain.run.device import choose_kernels
from pretrain.run.distributed import World, join_world
from pretrain.run.membership import membership
from pretrain.run.memory import fits
from pretrain.run.metrics import MetricsLog
from pretrain.run.ownership import check_owner, owning
from pretrain.run.rehearsal import rehearse
from pretrain.run.reporting import Interval, TimeLeft, progress, report, timed
from pretrain.run.requests import Requests
from pretrain.run.tracking import check_trackers
from pretrain.start import begin, find, last_good
from pretrain.teachers.features import keep_features
from pretrain.trainer import Trainer, recorded_chunks
from pretrain.weights.start import identified, load_start


@owning("work_dir")  # a second writer refuses to start
def pretrain(config: PretrainConfig, work_dir: Path, resume: bool, device: str) -> Path:
    """Run (or continue) a pretraining in ``work_dir`` and return the path of its universal checkpoint.

    Errors: UserError for settings or data that don't fit, NonFiniteLossError for a run that diverged.
    """
    check_trackers(config.training.track)
    world = join_world(device)
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    choose_kernels(world.device, config.training.deterministic)
    data, training = config.data, config.training
    found = find(work_dir, resume, world)
    backbone = identified(config.backbone, found.state["config"]["backbone"] if found else None)
    config = dataclasses.replace(config, backbone=backbone)
    warm = None if found or not backbone.weights else load_start(backbone, training.seed)
    if warm and world.is_main:
        print(f"{backbone.weights}: {warm.fit}", flush=True)
    images = image_dataset(data.name, data.root, "train", data.image_size, data.images_per_class, data.channels)
    if world.is_main:
        print(f"{data.name}: {getattr(images, 'found', f'{len(images):,} images')}", flush=True)
    images = in_memory(images, data.on_bad)
    epoch_iterations = max(1, len(images) // training.batch_size)
    iterations = training.iterations or training.epochs * epoch_iterations
    chunks = recorded_chunks(found.state) if found else None
    weights = None
    if warm:
        weights = warm.prepared(images, data.image_size, data.mean, data.std, training.seed, data.on_bad).state_dict()
    trainer = Trainer(
        config, world, iterations, epoch_iterations, len(images.classes), chunks, weights, labels_hash(images)
    )
    check_metadata(trainer, len(images))
    watch = Watch(trainer)  # its images and labels are there before a teacher looks at any
    start, interval = begin(trainer, work_dir, found)
    del found  # the state has been copied
    teacher = trainer.model.teacher
    fixed = teacher.settings.fixed_views if teacher else None
    batches = IterationBatches(
        len(images), training.batch_size, training.seed, start, iterations, world.rank, world.size, fixed
    )
    rehearse(trainer)
    if fixed and start < iterations:
        trainer.learn_from(keep_features(trainer, images, -(-iterations // epoch_iterations), work_dir))
    views = CutViews(images, trainer.augmentations, data.image_size, training.seed, data.decode, data.on_bad)
    if world.is_main and (said := loader_memory(trainer)):
        print(said, flush=True)
    loader = view_loader(views, batches, data.workers)
    bad = BadImages(images, data.max_bad, work_dir, world)
    try:
        run(trainer, loader, start, epoch_iterations, work_dir, watch, interval, bad)
    except NonFiniteLossError as error:
        hint = f"last good checkpoint: {last_good(work_dir)}; a smaller optimizer.lr may help"
        raise NonFiniteLossError(f"{error}; {hint}") from None
    return write_universal(trainer, images, work_dir)


def run(
    trainer: Trainer, loader, start: int, epoch_iterations: int, work_dir: Path, watch: "Watch", interval: Interval,
    bad: BadImages,
) -> None:  # fmt: skip
    """Iterations ``start`` to the end, with metrics and checkpoints at their intervals. epoch_iterations: in an epoch.

    interval: what was seen since the last line of the log. bad: takes what could not be read.
    Exits with 130 or 143 where a signal asked it to stop.
    """
    training, world = trainer.config.training, trainer.world
    main = world.is_main
    metrics = MetricsLog(work_dir, start, training.track, trainer.resolved()) if main else nullcontext()
    left, begun = TimeLeft(trainer.sampler.work, start, trainer.iterations), time.perf_counter()
    checkpoints = BackgroundCheckpoints(work_dir / "checkpoints", allowed=partial(check_owner, work_dir))
    with (
        metrics as log,
        checkpoints,
        progress(world) as bar,
        Requests(world, training.checkpoint_minutes) as requests,
    ):
        begun -= log.seconds if log else 0.0
        task = bar.add_task("pretrain", total=trainer.iterations, completed=start, left="")
        for iteration, (batch, waited) in enumerate(timed(loader), start):
            interval.waited += waited
            bad.add(batch.bad)
            with fits(trainer.config.training, trainer.world, f"iteration {iteration}"):
                interval.add(iteration, trainer.step(batch, iteration))
            done = iteration + 1
            planned = done % training.checkpoint_interval == 0 or done == trainer.iterations
            logs = planned or done % training.log_interval == 0 or watch.due(done)
            if logs:
                bad.report()
                means = finite_means(interval, world) | watch.look(batch, done)
                line = {
                    "iteration": done, "epoch": done / epoch_iterations, "lr": trainer.optimizer.param_groups[0]["lr"],
                    **means, **interval.pace(training.batch_size), "seconds": round(time.perf_counter() - begun, 3),
                }  # fmt: skip
                interval = Interval()
                if log:
                    check_owner(work_dir)
                    log.write(line)
                    report(bar, line, trainer.iterations, left.text(done))
                watch.collapse.judge(line, done)
            bar.update(task, completed=done, **({"left": f"{left.text(done)} left"} if logs else {}))
            asked = requests.asked(met=logs)
            if planned or asked.save or asked.stop:
                save(trainer, checkpoints, done, interval)
                requests.done_saving()
            if asked.stop and done < trainer.iterations:
                checkpoints.wait()
                if world.is_main:
                    print(f"stopped at iteration {done} of {trainer.iterations}, saved; --resume continues", flush=True)
                sys.exit(128 + asked.stop)


def loader_memory(trainer: Trainer) -> str:
    """What the loader workers of a machine take of its shared memory, see ``check_shared_memory``."""
    data, count = trainer.config.data, trainer.config.training.batch_size // trainer.world.size
    member = membership()
    batch = count * trainer.model.num_views * data.channels * data.image_size**2  # bytes
    return check_shared_memory(batch, data.workers, member.local_size if member else 1)


def save(trainer: Trainer, checkpoints: BackgroundCheckpoints, done: int, interval: Interval) -> None:
    """A checkpoint after ``done`` iterations, within an ``interval``; NonFiniteLossError for weights that are none."""
    if not trainer.all_finite():
        raise NonFiniteLossError(f"weights became non-finite by iteration {done}")
    if trainer.world.is_main:
        checkpoints.save(done, {**trainer.state(), "interval": interval.state()})


class Watch:
    """What a run says of its widths besides their losses: signs of collapse and, at intervals, kNN accuracy."""

    def __init__(self, trainer: Trainer):
        config = trainer.config
        settings, fixed = config.monitor, config.sampling.widths
        low, high = (min(fixed), max(fixed)) if fixed else config.width_range
        self.trainer, self.widths = trainer, list(settings.widths or dict.fromkeys((high, low)))
        self.collapse = CollapseWatch(settings, self.widths, trainer.world)
        self.neighbours = nearest_neighbours(config, trainer.world) if settings.knn_interval else None

    def due(self, done: int) -> bool:
        """Whether kNN accuracy is wanted after ``done`` iterations."""
        return self.neighbours is not None and done % self.trainer.config.monitor.knn_interval == 0

    def look(self, batch: LoadedBatch, done: int) -> dict[str, float]:
        """Metrics by width after ``done`` iterations, on the first views of the last one's ``batch``."""
        model = self.trainer.model
        seen = self.collapse.look(model, self.trainer.coloured(batch)[0])
        if bad := [name for name, value in seen.items() if not isfinite(value)]:
            width = bad[0].partition("/")[0]
            raise NonFiniteLossError(f"the embeddings of width {width} became non-finite by iteration {done}")
        if self.due(done):
            found = self.neighbours.accuracies(model.backbone, self.widths)
            seen |= {f"{width:g}/knn": accuracy for width, accuracy in found.items()}
        return seen


def nearest_neighbours(config: PretrainConfig, world: World) -> NearestNeighbours:
    data = config.data
    sets = (image_dataset(data.name, data.root, s, data.image_size, channels=data.channels) for s in ("train", "test"))
    train, test = sets
    if not train.classes or train.classes != test.classes:
        raise UserError("monitor.knn_interval needs labels, the same classes in training and test images")
    return NearestNeighbours(
        train,
        test,
        data.image_size,
        config.monitor.knn_images,
        config.training.seed,
        data.mean,
        data.std,
        world.device,
        on_bad=data.on_bad,
    )


def finite_means(interval: Interval, world: World) -> dict[str, float]:
    """The interval's mean losses; NonFiniteLossError in every process if a loss of any is not finite."""
    means, bad = interval.close(world)
    if bad is not None:
        iteration, term = bad
        what = f"the {term.name} loss of width {term.width:g} became non-finite at iteration {iteration}"
        raise NonFiniteLossError(what)
    return means
