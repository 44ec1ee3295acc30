"""Images to judge a width or a file on: two parts of training images, so that nothing is chosen on test images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from pretrain.common.errors import UserError
from pretrain.common.randomness import generator
from pretrain.data.augmentation.colour_stage import normalise
from pretrain.data.augmentation.settings import usual_interpolation
from pretrain.data.images.datasets import image_dataset
from pretrain.data.images.layout import images_at
from pretrain.knn import knn_scores, neighbours
from pretrain.recalibrate import recorded_data
from pretrain.universal import weights_hash
from transfer.recognition.images import evaluation_view, tested_view
from transfer.recognition.probe import ProbeSettings, train_probe
from transfer.source import Source

BANK, QUERIES, FEWEST = 1000, 500, 6  # images at most, and the fewest of both together
BATCH = 8  # a small one, as a device's memory is
DECODED = 64  # images at once that are decoded, or computed by torch
Run = Callable[[np.ndarray], np.ndarray]  # float32 [B, C, S, S] -> features [B, D]


@dataclass(frozen=True)
class Validation:
    """Images as recognition tests on them. bank, queries: uint8 [N, C, S, S], of no image in common.

    bank_labels, labels: int64 [N]. classes: their number, 0 for images without labels. mean, std: normalise them.
    judge: of ``JUDGES``.
    """

    name: str
    bank: Tensor
    bank_labels: Tensor
    queries: Tensor
    labels: Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    judge: str = "knn"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the images and their labels: by it a figure is told from one of others of the same name."""
        return weights_hash(
            {"bank": self.bank, "bank_labels": self.bank_labels, "queries": self.queries, "labels": self.labels}
        )

    def batches(self, images: Tensor, batch: int = BATCH) -> Iterator[np.ndarray]:
        """float32 [``batch`` or fewer, C, S, S], normalised."""
        return (normalise(part, self.mean, self.std).contiguous().numpy() for part in images.split(batch))

    def features(self, run: Run, batch: int = BATCH) -> tuple[Tensor, Tensor]:
        """[N, D] of the bank and of the queries, ``batch`` images at once."""
        bank, queries = (
            torch.from_numpy(np.concatenate([run(part) for part in self.batches(images, batch)]))
            for images in (self.bank, self.queries)
        )
        return bank, queries

    def top1(self, bank: Tensor, queries: Tensor) -> float | None:
        """Percent of the queries that the judge, who knows the bank, classifies rightly; None without labels."""
        if not self.classes:
            return None
        scores = JUDGES[self.judge](bank, self.bank_labels, queries, self.classes)
        return 100 * (scores.argmax(dim=1) == self.labels).double().mean().item()


def by_neighbours(bank: Tensor, labels: Tensor, queries: Tensor, classes: int) -> Tensor:
    """Scores [N, K] by kNN among the bank's features."""
    return knn_scores(bank, labels, queries, classes, neighbours(len(bank)))


def by_probe(bank: Tensor, labels: Tensor, queries: Tensor, classes: int) -> Tensor:
    """Scores [N, K] of the fast protocol's linear probe of the bank's features, one view each, as tested."""
    return train_probe([bank], bank, labels, classes, ProbeSettings())(queries)


JUDGES = {"knn": by_neighbours, "linear": by_probe}


def features_by_torch(plain: nn.Module, seen: Validation) -> tuple[Tensor, Tensor]:
    """``seen.features`` of a plain module, in batches that suit a desk's machine."""
    return seen.features(torch_run(plain), DECODED)


def torch_run(plain: nn.Module) -> Run:
    """A plain module as a ``Run``."""

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        return plain(torch.from_numpy(images)).numpy()

    return run


def validation_images(
    source: Source, image_size: int, root: Path | None = None, most_bank: int = BANK, most_queries: int = QUERIES
) -> Validation:
    """Up to ``most_bank`` and ``most_queries`` training images of ``image_size`` pixels, drawn by a fixed seed.

    root: a folder, list, tar or parquet file of images; None for the pretraining's, where they are found.
    Errors: UserError where there are no images, or fewer than ``FEWEST``.
    """
    dataset, name = _dataset(source, image_size, root)
    if len(dataset) < FEWEST:
        raise UserError(f"{name} has {len(dataset)} images; expected {FEWEST} or more to judge a network on")
    order = generator("validation", 0).permutation(len(dataset)).tolist()
    split = min(most_queries, len(order) // 3)
    (queries, labels), (bank, bank_labels) = (
        drawn(dataset, part, image_size) for part in (order[:split], order[split : split + most_bank])
    )
    mean, std = tuple(source.metadata["mean"]), tuple(source.metadata["std"])
    return Validation(name, bank, bank_labels, queries, labels, len(dataset.classes), mean, std)


def drawn(dataset: Dataset, indices: list[int], image_size: int) -> tuple[Tensor, Tensor]:
    """Those of ``indices`` as recognition tests on them, uint8 [N, C, S, S], and their labels."""
    view = evaluation_view(image_size, usual_interpolation(image_size))
    images, labels = [], []
    for start in range(0, len(indices), DECODED):
        some, found = zip(*(dataset[index] for index in indices[start : start + DECODED]))
        images.append(tested_view(view, some, []))
        labels += found
    return torch.cat(images), torch.tensor(labels)


def _dataset(source: Source, image_size: int, root: Path | None) -> tuple[Dataset, str]:
    """The training images and their name: those at ``root``, or those of the pretraining, as its run recorded them."""
    channels, name = source.net.backbone.input_channels, source.metadata["data"]["name"]
    if root is not None and (found := _at(root, channels)) is not None:
        return found, root.resolve().name
    recorded = recorded_data(source.path.parent) if source.path else {}
    try:
        return image_dataset(
            name, root or recorded.get("root"), "train", image_size,
            None if root else recorded.get("images_per_class"), channels,
        ), name  # fmt: skip
    except UserError as error:
        raise UserError(f"no images of the pretraining's '{name}' ({error}); expected --data FOLDER") from None


def _at(root: Path, channels: int) -> Dataset | None:
    """Training images in one of the usual arrangements; None for those of a data set's own files."""
    try:
        return images_at(root, "train", channels)
    except UserError:
        if not root.exists():
            raise
        return None
