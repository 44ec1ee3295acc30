"""The training loop: one process or many, CPU or GPU, resumable to the last byte.

An iteration t is a pure function of (weights, optimizer state, seed, t): its images, views and widths are drawn from
them (randomness.py), so the state that is saved is the state there is. Left out on purpose: gradient accumulation over
batches and validation during training.
"""

import json
import os
import time
import warnings
from collections import defaultdict
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pretrain.backbones import create_backbone
from pretrain.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from pretrain.config import PretrainConfig, differences
from pretrain.data.datasets import image_dataset
from pretrain.data.loader import IterationBatches, ViewPairs, view_loader
from pretrain.data.views import normalise
from pretrain.distributed import World, join_world, mean_over_processes, same_in_all
from pretrain.errors import NonFiniteLossError, UserError
from pretrain.finish import write_universal
from pretrain.metrics import MetricsLog
from pretrain.objectives.sampling import WidthSampler
from pretrain.objectives.us3l import US3L, Term
from pretrain.optim import GroupRegularisation, cosine, sgd
from pretrain.precision import autocast, grad_scaler, resolve_precision
from pretrain.randomness import torch_seed


class Trainer:
    """Model, optimizer and schedule of one run; ``step(images, t)`` is one iteration."""

    def __init__(self, config: PretrainConfig, world: World, iterations: int):
        training, optimizer = config.training, config.optimizer
        self.config, self.world, self.iterations = config, world, iterations
        self.precision = resolve_precision(training.precision, world.device)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(torch_seed("weights", training.seed))
            backbone = create_backbone(**config.backbone.arguments)
            chunks = local_chunks(config, world)
            self.model = US3L(backbone, config.objective, chunks, config.width_range[1]).to(world.device)
        self.ddp: nn.Module = self.model
        if world.size > 1:
            ids = [world.device.index] if world.device.type == "cuda" else None
            self.ddp = DistributedDataParallel(self.model, device_ids=ids)
        space = backbone.width_space(*config.width_range)
        self.sampler = WidthSampler(space, iterations, training.seed, **vars(config.sampling))
        self.lr = optimizer.lr * training.batch_size / optimizer.lr_batch
        self.optimizer = sgd(self.model.parameters(), self.lr, optimizer.momentum)
        self.regularisation = GroupRegularisation(
            self.model, backbone, optimizer.weight_decay, optimizer.groups, optimizer.alpha
        )
        self.scaler = grad_scaler(self.precision, world.device)

    def step(self, images: Tensor, iteration: int) -> list[Term]:
        """One iteration on uint8 images [b, 2, 3, S, S]; the terms of its loss, detached and still on the device."""
        data = self.config.data
        images = images.to(self.world.device, non_blocking=True)
        views = tuple(normalise(images[:, v], data.mean, data.std) for v in (0, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * cosine(iteration, self.iterations)
        self.model.update_momentum()
        self.optimizer.zero_grad()
        with autocast(self.precision, self.world.device):
            terms = self.ddp(views, self.sampler.widths(iteration))
        self.scaler.scale(torch.stack([term.value for term in terms]).sum()).backward()
        self.scaler.unscale_(self.optimizer)
        self.regularisation.add_gradients()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return [term._replace(value=term.value.detach()) for term in terms]

    def resolved(self) -> dict:
        """The config with what was left open filled in, for ``config.json``."""
        values, world = self.config.as_dict(), self.world.size
        values["training"] |= {
            "iterations": self.iterations, "precision": self.precision, "threads": torch.get_num_threads(),
            "chunks": self.config.training.chunks or world,
        }  # fmt: skip
        return values

    def state(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "config": self.config.as_dict(),
            "iterations": self.iterations,
            "threads": torch.get_num_threads(),
            "world_size": self.world.size,
            "precision": self.precision,
        }

    def load(self, state: dict) -> None:
        """Continue from ``state``. UserError if it belongs to another run; a warning if the bytes will differ."""
        other = differences(state["config"], self.config.as_dict())
        if other or state["iterations"] != self.iterations:
            what = other[0] if other else "the number of iterations"
            raise UserError(f"the checkpoint belongs to another run: {what} differs; use another --work-dir")
        arithmetic = {"threads": torch.get_num_threads(), "world_size": self.world.size, "precision": self.precision}
        for name, now in arithmetic.items():
            if state[name] != now:
                warnings.warn(f"resumed with {name} {now} instead of {state[name]}: other bytes", stacklevel=2)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def all_finite(self) -> bool:
        return bool(torch.stack([p.detach().float().sum() for p in self.model.parameters()]).isfinite().all())


def local_chunks(config: PretrainConfig, world: World) -> int:
    """Chunks of this process; ``training.chunks`` counts over all. UserError where they can't be dealt out equally."""
    chunks, batch = config.training.chunks or world.size, config.training.batch_size
    if chunks % world.size:
        raise UserError(f"training.chunks is {chunks} for {world.size} processes; expected a multiple of {world.size}")
    if batch % chunks or batch // chunks < 2:
        raise UserError(f"a batch of {batch} in {chunks} chunks; expected equal chunks of at least 2 images")
    return chunks // world.size


class Interval:
    """Collects the loss terms since the last line of the log, without waiting for the device until ``close``."""

    def __init__(self):
        self.terms: list[tuple[int, Term]] = []
        self.iterations, self.started = 0, time.perf_counter()

    def add(self, iteration: int, terms: list[Term]) -> None:
        self.iterations += 1
        self.terms += [(iteration, term) for term in terms]

    def close(self, world: World) -> tuple[dict[str, float], tuple[int, Term] | None]:
        """Mean of each kind of term and of their sum (``loss``) over iterations and processes; the first term that is
        not finite in any process."""
        values = mean_over_processes(torch.stack([term.value for _, term in self.terms]), world).tolist()
        finite = torch.tensor(values).isfinite()
        sums, counts = defaultdict(float), defaultdict(int)
        for (_, term), value in zip(self.terms, values, strict=True):
            sums[term.name] += value
            counts[term.name] += 1
        means = {name: sums[name] / counts[name] for name in sums}
        bad = None if finite.all() else self.terms[int((~finite).nonzero()[0])]
        return {"loss": sum(values) / self.iterations, **means}, bad


def pretrain(config: PretrainConfig, work_dir: Path, resume: bool, device: str) -> Path:
    """Run (or continue) a pretraining in ``work_dir`` and return the path of its universal checkpoint.

    Errors: UserError for settings or data that don't fit, NonFiniteLossError for a run that diverged.
    """
    world = join_world(device)
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    if world.device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS may sum in another order
        torch.use_deterministic_algorithms(True, warn_only=True)
    data, training = config.data, config.training
    source = image_dataset(data.name, data.root, "train", data.image_size, data.images_per_class)
    epoch = max(1, len(source) // training.batch_size)
    iterations = training.iterations or training.epochs * epoch
    trainer = Trainer(config, world, iterations)
    start = begin(trainer, work_dir, resume)
    batches = IterationBatches(
        len(source), training.batch_size, training.seed, start, iterations, world.rank, world.size
    )
    pairs = ViewPairs(source, data.views, data.image_size, training.seed)
    run(trainer, view_loader(pairs, batches, data.workers), start, epoch, work_dir)
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
        work_dir.mkdir(parents=True, exist_ok=True)
        (work_dir / "config.json").write_text(json.dumps(trainer.resolved(), indent=2) + "\n")
        where = f"continuing at iteration {start} from {newest}" if newest else "starting"
        training, data = trainer.config.training, trainer.config.data
        print(
            f"{where}: {trainer.config.method} {trainer.config.backbone} "
            f"on {data.name} at {data.image_size} px, {trainer.iterations} iterations of {training.batch_size} images, "
            f"{trainer.precision}, {trainer.world.size} process(es) on {trainer.world.device}, "
            f"{torch.get_num_threads()} threads, in {work_dir}",
            flush=True,
        )
    return start


def run(trainer: Trainer, loader, start: int, epoch: int, work_dir: Path) -> None:
    """Iterations ``start`` to the end, with metrics and checkpoints at their intervals. epoch: iterations of one."""
    training, world = trainer.config.training, trainer.world
    log = MetricsLog(work_dir, start) if world.is_main else None
    interval, begun = Interval(), time.perf_counter() - (log.seconds if log else 0.0)
    with progress(world) as bar:
        task = bar.add_task("pretrain", total=trainer.iterations, completed=start)
        for iteration, images in enumerate(loader, start):
            interval.add(iteration, trainer.step(images, iteration))
            done = iteration + 1
            saves = done % training.checkpoint_interval == 0 or done == trainer.iterations
            if saves or done % training.log_interval == 0:
                means = finite_means(interval, trainer, work_dir)
                rate = interval.iterations * training.batch_size / (time.perf_counter() - interval.started)
                line = {
                    "iteration": done, "epoch": done / epoch, "lr": trainer.optimizer.param_groups[0]["lr"], **means,
                    "images_per_second": round(rate, 1), "seconds": round(time.perf_counter() - begun, 3),
                }  # fmt: skip
                interval = Interval()
                if log:
                    log.write(line)
                    report(bar, line, trainer.iterations)
            bar.update(task, completed=done)
            if saves:
                if not trainer.all_finite():
                    raise diverged(trainer, work_dir, f"weights became non-finite by iteration {done}")
                if world.is_main:
                    save_checkpoint(work_dir / "checkpoints", done, trainer.state())
    if log:
        log.close()


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


def progress(world: World) -> Progress:
    """A bar on terminals; elsewhere only the lines of ``report``."""
    console = Console()
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=not (world.is_main and console.is_terminal),
    )  # fmt: skip


def report(bar: Progress, line: dict, iterations: int) -> None:
    losses = "  ".join(f"{name} {line[name]:.4f}" for name in ("loss", "base", "distill") if name in line)
    rate = f"lr {line['lr']:.4f}  {line['images_per_second']:g} images/s"
    bar.console.print(f"iteration {line['iteration']}/{iterations}  {losses}  {rate}", highlight=False, soft_wrap=True)
