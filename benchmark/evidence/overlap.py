"""Whether images that are tested on were trained on: by their content, whatever they are called."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from torch.utils.data import Dataset

from pretrain.common.errors import UserError
from pretrain.data.images.datasets import Subset, TensorImages, image_dataset
from pretrain.recalibrate import recorded_data
from pretrain.universal import UniversalNetwork


def contents(dataset: Dataset) -> Iterator[bytes]:
    """A digest of every image: of its pixels where they lie in memory, else of its file's bytes."""
    if isinstance(dataset, Subset):
        for index in dataset.indices:
            yield _content(dataset.dataset, index)
        return
    for index in range(len(dataset)):
        yield _content(dataset, index)


def _content(dataset: Dataset, index: int) -> bytes:
    if isinstance(dataset, TensorImages):
        image = dataset.images[index].contiguous()
        return hashlib.sha256(f"{tuple(image.shape)}".encode() + image.numpy().tobytes()).digest()
    return hashlib.sha256(dataset.encoded(index)).digest()


def shared(train: Dataset, test: Dataset) -> int:
    """How many images of ``test`` are among those of ``train``; copies that were saved anew are not seen."""
    known = set(contents(train))
    return sum(content in known for content in contents(test))


def pretraining_images(net: UniversalNetwork, run: Path) -> Dataset | None:
    """The images of the pretraining whose folder is ``run``; None where they are not there."""
    record = recorded_data(run)
    try:
        return image_dataset(
            net.metadata["data"]["name"], record.get("root"), "train", net.metadata["data"]["image_size"],
            record.get("images_per_class"), net.backbone.input_channels,
        )  # fmt: skip
    except UserError:
        return None


def warnings(net: UniversalNetwork, run: Path, train: Dataset, test: Dataset) -> list[str]:
    """A line for each kind of training images that has test images among it, and for what could not be looked at."""
    lines, before = [], pretraining_images(net, run)
    for what, images in (("the target's training images", train), ("pretraining's images", before)):
        if images is None:
            lines.append(f"not looked at: {what} are not where the run says, so tested images may be among them")
        elif count := shared(images, test):
            lines.append(f"warning: {count} of {len(test)} test images are among {what}: the figures flatter")
    return lines
