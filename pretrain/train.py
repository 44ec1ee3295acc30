"""The training loop: one process or many, CPU or GPU, resumable to the last byte.

Left out on purpose: gradient accumulation over batches and early stopping.
"""

import time
from pathlib import Path

import torch

from pretrain.common.errors import NonFiniteLossError, UserError
from pretrain.common.files import write_json
from pretrain.config import PretrainConfig
from pretrain.data.images.datasets import image_dataset
from pretrain.data.images.memory import in_memory
from pretrain.data.loader import CutViews, LoadedBatch, view_loader
from pretrain.data.order import IterationBatches
from pretrain.finish import write_universal
from pretrain.monitor import CollapseWatch, NearestNeighbours
from pretrain.run.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from pretrain.run.device import choose_kernels
from pretrain.run.distributed import World, join_world, same_in_all
from pretrain.run.metrics import MetricsLog
from pretrain.run.ownership import owning
from pretrain.run.reporting import Interval, progress, report, timed
from pretrain.trainer import Trainer


@owning("work_dir")  # a second writer refuses to start
def pretrain(config: PretrainConfig, work_dir: Path, resume: bool, device: str) -> Path:
    """Run (or continue) a pretraining in ``work_dir`` and return the path of its universal checkpoint.

    Errors: UserError for settings or data that don't fit, NonFiniteLossError for a run that diverged.
    """
    world = join_world(device)
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    choose_kernels(world.device, config.training.deterministic)
    data, training = config.data, config.training
    source = in_memory(image_dataset(data.name, data.root, "train", data.image_size, data.images_per_class))
    epoch = max(1, len(source) // training.batch_size)
    iterations = training.iterations or training.epochs * epoch
    trainer = Trainer(config, world, iterations, epoch, len(source.classes))
    start = begin(trainer, work_dir, resume)
    batches = IterationBatches(
        len(source), training.batch_size, training.seed, start, iterations, world.rank, world.size
    )
    views = CutViews(source, trainer.views, data.image_size, training.seed, data.decode)
    loader = view_loader(views, batches, data.workers)
    run(trainer, loader, start, epoch, work_dir, Watch(trainer))
    return write_universal(trainer, source, work_dir)


def begin(trainer: Trainer, work_dir: Path, resume: bool) -> int:
    """Where to start: 0, or after the newest valid checkpoint with ``resume``."""
    folder = work_dir / "checkpoints"
    if not resume and any(folder.glob("*.pt")):
        raise UserError(f"{work_dir} holds a run already; expected --resume to continue it, or another --work-dir")
    start, newest = 0, newest_checkpoint(folder) if resume else None
    if newest is not None:
        state = load_checkpoint(newest, trainer.world.device)
        trainer.load(state)
        start = state["iteration"]
    if not same_in_all(start, trainer.world):
        raise UserError(f"processes found different checkpoints in {folder}; expected one folder that all of them see")
    if trainer.world.is_main:
        write_json(work_dir / "config.json", trainer.resolved())
        where = f"continuing at iteration {start} from {newest}" if newest else "starting"
        training, data = trainer.config.training, trainer.config.data
        kernels = (
            "" if trainer.world.device.type == "cpu" else "non-" * (not training.deterministic) + "deterministic, "
        )
        print(
            f"{where}: {trainer.config.method} {trainer.config.backbone} "
            f"on {data.name} at {data.image_size} px, {trainer.iterations} iterations of {training.batch_size} images, "
            f"{trainer.precision}, {trainer.world.size} process(es) on {trainer.world.device}, "
            f"{torch.get_num_threads()} threads, {kernels}in {work_dir}",
            flush=True,
        )
    return start


def run(trainer: Trainer, loader, start: int, epoch: int, work_dir: Path, watch: "Watch") -> None:
    """Iterations ``start`` to the end, with metrics and checkpoints at their intervals. epoch: iterations of one."""
    training, world = trainer.config.training, trainer.world
    log = MetricsLog(work_dir, start) if world.is_main else None
    interval, begun = Interval(), time.perf_counter() - (log.seconds if log else 0.0)
    with progress(world) as bar:
        task = bar.add_task("pretrain", total=trainer.iterations, completed=start)
        for iteration, (batch, waited) in enumerate(timed(loader), start):
            interval.waited += waited
            interval.add(iteration, trainer.step(batch, iteration))
            done = iteration + 1
            saves = done % training.checkpoint_interval == 0 or done == trainer.iterations
            if saves or done % training.log_interval == 0 or watch.due(done):
                means = finite_means(interval, trainer, work_dir) | watch.look(batch, done)
                line = {
                    "iteration": done, "epoch": done / epoch, "lr": trainer.optimizer.param_groups[0]["lr"], **means,
                    **interval.pace(training.batch_size), "seconds": round(time.perf_counter() - begun, 3),
                }  # fmt: skip
                interval = Interval()
                if log:
                    log.write(line)
                    report(bar, line, trainer.iterations)
                watch.collapse.judge(line, done)
            bar.update(task, completed=done)
            if saves:
                if not trainer.all_finite():
                    raise diverged(trainer, work_dir, f"weights became non-finite by iteration {done}")
                if world.is_main:
                    save_checkpoint(work_dir / "checkpoints", done, trainer.state())
    if log:
        log.close()


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
        seen = self.collapse.look(model, self.trainer.prepare(batch).views[0])
        if self.due(done):
            found = self.neighbours.accuracies(model.backbone, self.widths)
            seen |= {f"{width:g}/knn": accuracy for width, accuracy in found.items()}
        return seen


def nearest_neighbours(config: PretrainConfig, world: World) -> NearestNeighbours:
    data = config.data
    train, test = (image_dataset(data.name, data.root, split, data.image_size) for split in ("train", "test"))
    return NearestNeighbours(
        train, test, data.image_size, config.monitor.knn_images, config.training.seed, data.mean, data.std, world.device
    )


def finite_means(interval: Interval, trainer: Trainer, work_dir: Path) -> dict[str, float]:
    """The interval's mean losses; NonFiniteLossError in every process if a loss of any is not finite."""
    means, bad = interval.close(trainer.world)
    if bad is not None:
        iteration, term = bad
        what = f"the {term.name} loss of width {term.width:g} became non-finite at iteration {iteration}"
        raise diverged(trainer, work_dir, what)
    return means


def diverged(trainer: Trainer, work_dir: Path, what: str) -> NonFiniteLossError:
    good = newest_checkpoint(work_dir / "checkpoints")
    return NonFiniteLossError(f"{what}; last good checkpoint: {good or 'none'}; a smaller optimizer.lr may help")
