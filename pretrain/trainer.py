"""One iteration of pretraining, and the state that it leaves.

An iteration t is a pure function of (weights, optimizer state, seed, t): its images, views and widths are drawn from
them (common/randomness.py), so the state that is saved is the state there is.
"""

import warnings
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.common.randomness import torch_seed
from pretrain.config import LENGTH_KEYS, PretrainConfig, check_chunks, differences
from pretrain.data.facts import ImageFacts
from pretrain.data.loader import LoadedBatch, coloured_views
from pretrain.objectives.step import Batch, Step, Term
from pretrain.optim import BUFFERS, GroupRegularisation, create_optimizer
from pretrain.run.device import autocast, compile_backbones, grad_scaler, lay_out, resolve_precision
from pretrain.run.distributed import World, parallel
from pretrain.run.graphs import replayed
from pretrain.run.memory import fits
from pretrain.sampling import WidthSampler
from pretrain.schedules import ramp, warmup_cosine


class Trainer:
    """Model, optimizer and schedule of one run; ``step(batch, t)`` is one iteration.

    epoch_iterations: in an epoch. classes: of the data set, for objectives that look at labels. chunks: those of a run
    that is continued; by default the config's, or one per process. weights: the backbone's to start from, by default
    random ones. labels: ``labels_hash`` of the images, by which a run that is continued knows them; None for a step
    without a run.
    """

    def __init__(
        self, config: PretrainConfig, world: World, iterations: int, epoch_iterations: int = 1, classes: int = 0,
        chunks: int | None = None, weights: dict[str, Tensor] | None = None, labels: str | None = None,
    ):  # fmt: skip
        training, optimizer, data = config.training, config.optimizer, config.data
        images = ImageFacts(classes, data.channels, data.image_size, data.mean, data.std)
        self.config, self.world, self.iterations, self.labels = config, world, iterations, labels
        self.chunks = chunks or config.training.chunks or world.size
        self.continued: list[int] = []  # iterations at which it was finished, and told to go on for longer
        self.precision = resolve_precision(training.precision, world.device)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(torch_seed("weights", training.seed))
            backbone = create_backbone(**config.backbone.arguments)
            if weights is not None:
                backbone.load_state_dict(weights)
            parts = local_chunks(config, world, chunks)
            self.model = config.objective.build(backbone, parts, config.width_range[1], images)
        self.model = lay_out(self.model, world.device, self.precision)
        if self.model.teacher is not None:
            self.model.teacher.to(world.device, self.precision)
        self.augmentations = [data.views, data.second_views or data.views][: self.model.num_views]
        self.kept: Callable[[Tensor], Tensor] | None = None
        self.sampler = WidthSampler.of(config, self.model.backbone, iterations)
        if training.compile is True:
            compile_backbones(self.model, self.sampler.sub_networks)
        step = self.model
        if training.compile == "graphs":
            with fits(training, world, "recording the graph of the largest network"):
                step = replayed(self.model, self.example(images), self.sampler.base_width, world, self.precision)
        self.ddp = parallel(step, world)
        self.lr = optimizer.lr * training.batch_size / optimizer.lr_batch
        self.warmup = round(optimizer.warmup_epochs * epoch_iterations)
        self.optimizer = create_optimizer(optimizer, self.model, self.lr)
        self.regularisation = None
        if optimizer.name == "sgd":
            self.regularisation = GroupRegularisation(self.model, self.model.backbone, optimizer)
        self.scaler = grad_scaler(self.precision, world.device)

    def example(self, images: ImageFacts) -> Batch:
        """A batch of zeros, of this process's share of images, where and as ``prepare`` leaves one."""
        count, device = self.config.training.batch_size // self.world.size, self.world.device
        shape = (count, images.channels, images.image_size, images.image_size)
        views = (torch.zeros(shape, device=device) for _ in range(self.model.num_views))
        views = tuple(view.to(memory_format=torch.channels_last) for view in views)
        return Batch(views, torch.zeros(count, dtype=torch.int64, device=device))

    def step(self, loaded: LoadedBatch, iteration: int) -> list[Term]:
        """One iteration on a batch; the terms of its loss, detached and still on the device."""
        self.schedule(iteration)
        terms = self.learn(self.prepare(loaded), self.sampler.widths(iteration), iteration / self.iterations)
        return [term._replace(value=term.value.detach()) for term in terms]

    def schedule(self, iteration: int) -> None:
        """Set the learning rate and alpha of ``iteration``."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr_at(iteration, self.iterations)
        if self.regularisation is not None:
            self.regularisation.set_alpha(ramp(iteration / self.iterations, self.config.optimizer.alpha_ramp))

    def lr_at(self, iteration: int, iterations: int) -> float:
        """The learning rate at ``iteration`` of a run of ``iterations``."""
        return self.lr * warmup_cosine(iteration, iterations, self.warmup)

    def prepare(self, loaded: LoadedBatch) -> Batch:
        """What a step learns from, on the device: views, labels and what the teacher makes of the views."""
        loaded = loaded.to(self.world.device)
        views = self.coloured(loaded)
        taught = self.taught(views) if self.kept is None else self.kept(loaded.keys)
        return Batch(views, loaded.labels, taught)

    def coloured(self, loaded: LoadedBatch) -> tuple[Tensor, ...]:
        """The views after colours and normalisation, on the device, in the format of the first convolution."""
        data = self.config.data
        loaded = loaded.to(self.world.device)
        return tuple(coloured_views(loaded, self.augmentations, self.config.training.seed, data.mean, data.std))

    def taught(self, views: tuple[Tensor, ...]) -> Tensor | None:
        """The teacher's features of the views; None for a method without a teacher."""
        if self.model.teacher is None:
            return None
        with autocast(self.precision, self.world.device):
            return self.model.teacher(torch.cat(views))

    def learn_from(self, kept: Callable[[Tensor], Tensor]) -> None:
        """Ask ``kept`` from now on, with the keys of a batch, for what the teacher would say; the teacher may leave."""
        self.kept = kept
        self.model.teacher.to(torch.device("cpu"), self.precision)

    def learn(self, batch: Batch, widths: list[float], progress: float) -> list[Term]:
        """Momentum, losses, gradients and optimizer steps in the configured order, at the learning rate that is set.

        progress: iteration / iterations.
        """
        training = self.config.training
        self.model.update_momentum(progress)
        self.optimizer.zero_grad()
        if training.update == "accumulate" and training.memory == "normal":
            terms, targets = self._backward(batch, widths)
            self._update(self.model.unused(widths, base=True))
            self.model.finish_step(targets)
            return terms
        terms, targets, per_width = [], None, training.update != "accumulate"
        for position, width in enumerate(widths, 1):  # two networks of a step may have the same width
            last = position == len(widths)
            if training.update == "per_width_momentum" and terms:
                self.model.update_momentum(progress)
            # the last of several backward passes reduces what all of them added up
            with nullcontext() if per_width or last or self.world.size == 1 else self.ddp.no_sync():
                step = self._backward(batch, [width], targets)
            terms, targets = [*terms, *step.terms], step.targets
            if per_width or last:
                learnt, base = ([width], position == 1) if per_width else (widths, True)
                self._update(self.model.unused(learnt, base))
                self.optimizer.zero_grad()
        self.model.finish_step(targets)
        return terms

    def rehearse(self, loaded: LoadedBatch, widths: list[float]) -> None:
        """The passes of a step at ``widths``, for the memory that they take: nothing is learnt, no trace is left."""
        training, targets, batch = self.config.training, None, self.prepare(loaded)
        together = training.update == "accumulate" and training.memory == "normal"
        for part in [widths] if together else [[width] for width in widths]:
            targets = self._backward(batch, part, targets).targets
        self.optimizer.zero_grad()

    def _backward(self, batch: Batch, widths: list[float], targets: Tensor | None = None) -> Step:
        with autocast(self.precision, self.world.device):
            step = self.ddp(batch, widths, targets)
        self.scaler.scale(torch.stack([term.value for term in step.terms]).sum()).backward()
        return step

    def _update(self, unused: list[nn.Parameter]) -> None:
        """An optimizer step that neither regularises nor moves the ``unused`` parameters."""
        for parameter in unused:
            parameter.grad = None
        self.scaler.unscale_(self.optimizer)
        if self.regularisation is not None:
            self.regularisation.add_gradients()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def resolved(self) -> dict:
        """The config with what was left open filled in, for ``config.json``."""
        values = self.config.as_dict()
        values["training"] |= {
            "iterations": self.iterations, "precision": self.precision, "threads": torch.get_num_threads(),
            "chunks": self.chunks,
        }  # fmt: skip
        return values

    def state(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "config": self.config.as_dict(),
            "iterations": self.iterations,
            "labels": self.labels,
            "threads": torch.get_num_threads(),
            "world_size": self.world.size,
            "chunks": self.chunks,
            "precision": self.precision,
            "deterministic": self.config.training.deterministic,
            "continued": self.continued,
            "teacher": teacher.identity if (teacher := self.model.teacher) else None,
        }

    def load(self, state: dict) -> None:
        """Continue from ``state``, or for longer than it was to be if it is finished.

        Errors: UserError if it belongs to another run. Warns if the bytes will differ.
        """
        other = differences(state["config"], self.config.as_dict())
        if self.chunks == recorded_chunks(state):
            other = [key for key in other if key != "training.chunks"]
        longer = self.iterations > state["iterations"] and bool(set(other) & set(LENGTH_KEYS))
        if longer:
            other = [key for key in other if key not in LENGTH_KEYS]
        if other or (state["iterations"] != self.iterations and not longer):
            what = other[0] if other else "the number of iterations"
            raise UserError(f"the checkpoint belongs to another run: {what} differs; use another --work-dir")
        if None not in (self.labels, state.get("labels")) and self.labels != state["labels"]:
            raise UserError(
                "the checkpoint belongs to a run on other images: their number, classes or labels differ; expected the "
                "data.root that it was begun with, or another --work-dir"
            )
        if self.model.asks_others and self.world.size != state["world_size"]:
            raise UserError(
                f"norms or losses of this run are of all of its {state['world_size']} processes together, and would be "
                f"others with {self.world.size}; expected {state['world_size']} processes, or another --work-dir"
            )
        if self.model.teacher is not None:
            self.model.teacher.check_same(state["teacher"])
        if longer and state["iteration"] < state["iterations"]:
            raise UserError(
                f"the run is at iteration {state['iteration']} of {state['iterations']}; expected it to be finished "
                "before it goes on for longer: resume it with the length that it was started with"
            )
        self.continued = [*state.get("continued", []), *([state["iterations"]] if longer else [])]
        arithmetic = {"threads": torch.get_num_threads(), "world_size": self.world.size, "precision": self.precision}
        if self.world.device.type == "cuda":
            arithmetic["deterministic"] = self.config.training.deterministic
        for name, now in arithmetic.items():
            if state.get(name, now) != now:
                warnings.warn(f"resumed with {name} {now} instead of {state[name]}: other bytes", stacklevel=2)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        for parameter, found in self.optimizer.state.items():
            shapes = {tuple(value.shape) for value in found.values() if isinstance(value, Tensor)} - {()}
            if shapes - {tuple(parameter.shape)}:
                raise UserError(f"the checkpoint's optimizer has values of the shapes {shapes} for {parameter.shape}")

    def all_finite(self) -> bool:
        return bool(torch.stack([p.detach().float().sum() for p in self.model.parameters()]).isfinite().all())

    def state_bytes(self) -> int:
        """About how large a checkpoint is: the model and the optimizer's buffers."""
        model = sum(t.numel() * t.element_size() for t in self.model.state_dict().values())
        trained = sum(p.numel() * p.element_size() for p in self.model.parameters() if p.requires_grad)
        return model + trained * BUFFERS[self.config.optimizer.name]


def recorded_chunks(state: dict) -> int:
    """Chunks that a checkpoint's run was begun with; the number of processes may be another when it is continued."""
    return state.get("chunks") or state["config"]["training"]["chunks"] or state["world_size"]


def local_chunks(config: PretrainConfig, world: World, recorded: int | None = None) -> int:
    """Chunks of this process; ``training.chunks``, or those ``recorded`` by the run that is continued, count over all.

    Errors: UserError where they can't be dealt out equally.
    """
    chunks = recorded or config.training.chunks or world.size
    if chunks % world.size:
        if recorded:
            raise UserError(
                f"the run was begun with batches in {chunks} chunks, which {world.size} processes cannot share; "
                f"expected a number of processes that divides {chunks}"
            )
        raise UserError(f"training.chunks is {chunks} for {world.size} processes; expected a multiple of {world.size}")
    check_chunks(config.training.batch_size, chunks)
    return chunks // world.size
