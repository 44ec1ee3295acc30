"""Frozen features of several widths and views: one pass over the images serves all of them, and a cache the next."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import torch
import torchvision
from torch import Tensor, nn

from pretrain.common.devices import in_turn
from pretrain.common.errors import UncalibratedWidthError
from pretrain.common.feature_cache import FeatureCache, Sink
from pretrain.data.augmentation.parameters import RANDOM_NUMBERS
from pretrain.data.augmentation.settings import Augmentation, usual_interpolation
from pretrain.run.device import autocast, resolve_precision
from pretrain.universal import weights_hash
from transfer.recognition.images import (
    Images,
    Viewed,
    as_tested,
    augmented,
    batches,
    copied,
    placed,
    resized,
    shown,
    together,
)
from transfer.source import Source

FORWARD_BATCH = 256  # images in one forward pass of the frozen backbones
FeatureKey = tuple[float, int]  # width, number of the view in a list of views


def extract_widths(source: Source, widths: list[float], device: str) -> dict[float, nn.Module]:
    """Plain backbones in eval mode. UncalibratedWidthError names the calibrated widths and the way out."""
    try:
        return {width: placed(source.net.extract(width), device) for width in widths}
    except UncalibratedWidthError as error:
        raise UncalibratedWidthError(f"{error}; --calibrate estimates others on the training images") from None


@dataclass(frozen=True)
class View:
    """How an image is looked at: as it is tested on (augmentation None), or augmented, the ``number``-th time.

    interpolation: of what is tested on, None for the usual one.
    """

    image_size: int
    augmentation: Augmentation | None = None
    seed: int = 0
    number: int = 0
    interpolation: str | None = None

    def of(self, images: Images) -> Viewed:
        if self.augmentation is None:
            return as_tested(images, self.image_size, self.interpolation)
        return augmented(images, self.augmentation, self.image_size, self.seed, self.number)

    def description(self) -> dict:
        """Everything that the pixels depend on, for the key of a cache."""
        if self.augmentation is None:
            interpolation = self.interpolation or usual_interpolation(self.image_size)
            return {"resize": resized(self.image_size), "centre_crop": self.image_size, "interpolation": interpolation}
        return {
            "views": asdict(self.augmentation), "size": self.image_size, "seed": self.seed, "number": self.number,
            "random_numbers": RANDOM_NUMBERS,
        }  # fmt: skip


class Extractor:
    """Features of the plain backbones of some widths, from the cache or by one pass over the images.

    modules: by width, as ``placed`` on the first of ``devices``, which take batches in turn, each with a copy of the
    networks; the order of the features is that of the images. mean, std: of the normalisation. track: shows progress.
    precision: fp32 on CPUs, bf16 on GPUs that have it, which moved no accuracy on 10,000 images of CIFAR-10 by 0.1
    points.
    """

    def __init__(
        self, source: Source, modules: dict[float, nn.Module], devices: list[str], cache: FeatureCache,
        batch: int = FORWARD_BATCH, workers: int = 0, track: Callable[..., Iterable] = lambda it, **_: it,
    ):  # fmt: skip
        self.modules, self.devices, self.cache = modules, devices, cache
        on = torch.device(devices[0])
        self.precision = resolve_precision("auto", on) if on.type == "cuda" else "fp32"
        self.mean, self.std = source.net.metadata["mean"], source.net.metadata["std"]
        self.batch, self.workers, self.track = batch, workers, track
        self.sizes = {width: source.net.backbone.num_features(width) for width in modules}
        self.networks = {width: self._identity(source, width) for width in modules}

    def bytes_of_a_view(self, images: int) -> int:
        """Size of the features of one view at all widths."""
        return 2 * images * sum(self.sizes.values())

    def __call__(self, images: Images, views: list[View], description: str) -> dict[float, list[Tensor]]:
        """float16 [N, D] of each view by width, in the order of ``views``; what is not in the cache is computed."""
        data = images.identity if self.cache.folder else None
        keys = {(w, i): self.key(w, view, data) for w in self.modules for i, view in enumerate(views)}
        shapes = {key: (len(images), self.sizes[key[0]]) for key in keys}
        found = {key: self.cache.load(keys[key], shapes[key]) for key in keys}
        missing = [key for key in keys if found[key] is None]
        if missing:
            with ExitStack() as stack:
                sinks = {key: stack.enter_context(self.cache.sink(keys[key], shapes[key])) for key in missing}
                self._pass(images, views, sinks, description)
            found |= {key: sink.finish() for key, sink in sinks.items()}
            if any(sink.clipped for sink in sinks.values()):
                self.cache.say("features beyond float16 were clipped to +-65504")
        return {width: [found[width, i] for i in range(len(views))] for width in self.modules}

    def _identity(self, source: Source, width: float) -> dict:
        """What a plain network is: the statistics of a calibration are in its state, head counts are not."""
        return {
            "backbone": source.net.metadata["backbone"], "weights": source.net.hash,
            "channels": source.net.backbone.channels(width).key,
            "state": weights_hash(self.modules[width].state_dict()),
            **({} if self.precision == "fp32" else {"precision": self.precision}),
        }  # fmt: skip

    def key(self, width: float, view: View, data: str | None) -> dict:
        """All that the features of a view depend on, by which they are kept."""
        return {
            "network": self.networks[width], "data": data, "view": view.description(), "mean": list(self.mean),
            "std": list(self.std), "torchvision": torchvision.__version__,
        }  # fmt: skip

    @torch.no_grad()
    def _pass(self, images: Images, views: list[View], sinks: dict[FeatureKey, Sink], description: str) -> None:
        needed = sorted({i for _, i in sinks})
        viewed = together([views[i].of(images) for i in needed])
        batch = max(1, self.batch // len(needed))
        loader = self.track(
            batches(viewed, batch, workers=self.workers), total=-(-len(images) // batch), description=description
        )
        copies = copied(self.modules, self.devices)

        def launch(loaded: tuple[Tensor, Tensor], turn: int) -> list[tuple[Sink, Tensor]]:
            return list(self._features(loaded[0], needed, sinks, copies[turn], self.devices[turn]))

        for parts in in_turn(loader, launch, len(self.devices)):
            for sink, features in parts:
                sink.append(features)

    def _features(
        self,
        pixels: Tensor,
        needed: list[int],
        sinks: dict[FeatureKey, Sink],
        modules: dict[float, nn.Module],
        device: str,
    ) -> Iterator[tuple[Sink, Tensor]]:  # fmt: skip
        """The features of a batch [B, views, 3, S, S], on ``device``, each with where it belongs."""
        for width, module in modules.items():
            numbers = [i for i in needed if (width, i) in sinks]
            if not numbers:
                continue
            chosen = pixels[:, [needed.index(i) for i in numbers]].transpose(0, 1)  # [V, B, 3, S, S]
            x = shown(chosen.flatten(0, 1), device, self.mean, self.std)
            with autocast(self.precision, x.device):
                features = module(x).unflatten(0, chosen.shape[:2])
            yield from zip((sinks[width, i] for i in numbers), features, strict=True)
