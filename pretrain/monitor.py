"""Collapse and nearest-neighbour accuracy of chosen widths during training, without touching the training state.

A width has collapsed where its embeddings say nothing of the image. Two symptoms, since each alone misses a kind:

- spread: the standard deviation of L2-normalised embeddings over a batch, mean over dimensions, times sqrt(D) (Chen and
  He, "Exploring simple Siamese representation learning", CVPR 2021): near 1 for directions all over the sphere, 0 where
  all images have one embedding;
- rank: exp of the entropy of the normalised singular values of the centred embeddings (Roy and Vetterli, "The effective
  rank", EUSIPCO 2007): 1 where they lie on a line, although their spread may be large.
"""

import warnings
from collections import Counter
from math import nan
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision.transforms import v2

from pretrain.common.errors import CollapsedError
from pretrain.common.randomness import generator
from pretrain.common.settings import NotNegative, PositiveInt, Widths, settings
from pretrain.data.augmentation.colour_stage import normalise
from pretrain.data.replacement import first_readable, following
from pretrain.knn import knn_scores, neighbours
from pretrain.objectives.step import Objective
from pretrain.run.distributed import World, mean_over_processes
from pretrain.slimmable.calibrate import calibrate
from pretrain.slimmable.norms.statistics import FixedStatistics, batch_norms


@settings
class MonitorSettings:
    """What is watched of some widths with every line of the log.

    widths: the watched ones, by default the range's ends. min_spread, min_rank: a width below either has collapsed.
    on_collapse: ``warn``, or ``stop`` the run when a width is found collapsed ``patience`` times in a row. patience: so
    many times. knn_interval: iterations between kNN accuracies of ``widths``, None for none. knn_images: training
    images as the bank, and at most as many test images.
    """

    widths: Widths | None = None
    min_spread: NotNegative = 0.1
    min_rank: NotNegative = 2.0
    on_collapse: Literal["warn", "stop"] = "warn"
    patience: PositiveInt = 3
    knn_interval: PositiveInt | None = None
    knn_images: PositiveInt = 5000


def spread(embeddings: Tensor) -> float:
    """Standard deviation of unit rows [B, D], mean over dimensions, times sqrt(D): 0 (one point) to about 1."""
    unit = F.normalize(embeddings.double(), dim=1)
    return float(unit.std(dim=0, correction=0).mean() * unit.shape[1] ** 0.5)


def effective_rank(embeddings: Tensor) -> float:
    """Effective rank of the centred unit rows [B, D]: 1 to min(B - 1, D); 1 also for a single point."""
    unit = F.normalize(embeddings.double(), dim=1)
    values = singular_values(unit - unit.mean(dim=0))
    if values.sum() < 1e-9 * len(unit):
        return 1.0
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


def singular_values(x: Tensor) -> Tensor:
    """Singular values of float64 [B, D], by the eigenvalues of the smaller Gram matrix: a fifth of the time, exact
    to 1e-8 of the largest. On the CPU, where small symmetric matrices are done as soon as on a GPU."""
    gram = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    return torch.linalg.eigvalsh(gram.cpu()).clamp_min(0).sqrt()


class CollapseWatch:
    """Spread and rank of each width's embeddings, a warning where a width collapses, an error where it stays so."""

    def __init__(self, settings: MonitorSettings, widths: list[float], world: World):
        self.settings, self.widths, self.world = settings, widths, world
        self.found: Counter[float] = Counter()

    @torch.no_grad()
    def look(self, model: Objective, images: Tensor) -> dict[str, float]:
        """Metrics ``<width>/spread`` and ``<width>/rank`` on normalised images [B, 3, H, W], means over processes.

        NaN in all processes where the embeddings of one are not finite.
        """
        metrics = {}
        for width in self.widths:
            embeddings = model.embed(images, width)
            finite = bool(embeddings.isfinite().all())  # else there are no singular values to be had
            seen = [spread(embeddings), effective_rank(embeddings)] if finite else [nan, nan]
            values = torch.tensor(seen, device=images.device)
            metrics[f"{width:g}/spread"], metrics[f"{width:g}/rank"] = mean_over_processes(values, self.world).tolist()
        return metrics

    def judge(self, metrics: dict[str, float], iteration: int) -> None:
        """Warn of a width that has collapsed by what ``look`` found.

        Errors: CollapsedError, in all processes, with ``on_collapse = "stop"``.
        """
        for width in self.widths:
            self._judge(width, metrics[f"{width:g}/spread"], metrics[f"{width:g}/rank"], iteration)

    def _judge(self, width: float, spread: float, rank: float, iteration: int) -> None:
        settings = self.settings
        if spread >= settings.min_spread and rank >= settings.min_rank:
            self.found[width] = 0
            return
        self.found[width] += 1
        what = f"width {width:g} has collapsed at iteration {iteration}: spread {spread:.3f}, effective rank {rank:.1f}"
        if settings.on_collapse == "stop" and self.found[width] >= settings.patience:
            raise CollapsedError(
                f"{what}, {settings.patience} times in a row; monitor.on_collapse = 'stop' ends the run"
            )
        if self.found[width] == 1 and self.world.is_main:
            warnings.warn(what, stacklevel=2)


class NearestNeighbours:
    """kNN accuracy of a backbone in training: calibrated on the bank's images on the fly, nothing of it is kept.

    train, test: items (uint8 [3, H, W], label). images: training images in the bank, and at most as many test images,
    both drawn by ``seed``. mean, std: of normalisation.
    on_bad: as of ``CutViews``.
    """

    def __init__(
        self, train: Dataset, test: Dataset, image_size: int, images: int, seed: int, mean: list[float],
        std: list[float], device: torch.device, batch_size: int = 256, on_bad: str = "stop",
    ):  # fmt: skip
        self.classes = len(train.classes)
        self.mean, self.std, self.device, self.batch_size = mean, std, device, batch_size
        view = v2.Compose([v2.Resize(image_size, antialias=True), v2.CenterCrop(image_size)])
        self.bank, self.queries = (self._draw(dataset, view, images, seed, on_bad) for dataset in (train, test))

    @staticmethod
    def _draw(dataset: Dataset, view: v2.Transform, images: int, seed: int, on_bad: str) -> tuple[Tensor, Tensor]:
        order = generator("knn", seed).permutation(len(dataset))
        if on_bad == "stop":
            items = [dataset[int(index)] for index in order[:images]]
        else:
            places = range(min(images, len(order)))
            items = [first_readable(dataset.__getitem__, following(order, n), [])[1] for n in places]
        return torch.stack([view(image) for image, _ in items]), torch.tensor([label for _, label in items])

    @torch.no_grad()
    def accuracies(self, backbone: torch.nn.Module, widths: list[float]) -> dict[float, float]:
        """Top-1 accuracy in percent by width."""
        moments = calibrate(backbone, self._batches(self.bank[0]), widths)
        norms, found = batch_norms(backbone), {}
        for width in widths:
            fixed = FixedStatistics({norms[n]: m for n, m in moments[backbone.channels(width).key].items()})
            train, test = (
                torch.cat([backbone(batch, width, fixed) for batch in self._batches(images)])
                for images, _ in (self.bank, self.queries)
            )
            labels, truth = self.bank[1].to(self.device), self.queries[1].to(self.device)
            scores = knn_scores(train, labels, test, self.classes, neighbours(len(train)))
            found[width] = 100 * (scores.argmax(dim=1) == truth).double().mean().item()
        return found

    def _batches(self, images: Tensor):
        """Parts as equal as can be, of at most ``batch_size``: a last one of a single image has no statistics."""
        parts = images.tensor_split(-(-len(images) // self.batch_size))
        return (normalise(part.to(self.device), self.mean, self.std) for part in parts)
