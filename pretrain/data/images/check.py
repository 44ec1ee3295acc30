"""What is wrong with the images of a data set: every one is read once, by several processes."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from torch.utils.data import DataLoader, Dataset

from pretrain.common.errors import UserError
from pretrain.data.images.encoded import EncodedImage, EncodedImages

USUAL = ("RGB", "L")  # Pillow's modes that need no interpretation


class Fault(NamedTuple):
    """kind: ``unreadable``, ``small``, ``mode`` or ``duplicate``. what: in words."""

    kind: str
    name: str
    what: str


class Examined(Dataset):
    """index -> (faults of the image, hash of its bytes)."""

    def __init__(self, images: EncodedImages, image_size: int):
        self.images, self.image_size = images, image_size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[list[Fault], bytes]:
        name = self.images.name(index)
        try:
            image = self.images.open(index)
            image.decode()
        except UserError as error:
            return [Fault("unreadable", name, str(error))], b""
        faults = []
        if min(image.size) < self.image_size:
            faults.append(Fault("small", name, f"{image.size[1]} x {image.size[0]} px"))
        if isinstance(image, EncodedImage) and image.image.mode not in USUAL:
            faults.append(Fault("mode", name, image.image.mode))
        return faults, hashlib.sha256(self.images.encoded(index)).digest()


def faults(
    images: EncodedImages, image_size: int, workers: int, watch: Callable[..., Iterable] = lambda it, **_: it
) -> Iterator[Fault]:
    """The faults of all images in their order; a duplicate has the bytes of an earlier image.

    image_size: px, a shorter side makes an image small. watch: goes along and shows progress.
    """
    seen: dict[bytes, int] = {}
    loader = DataLoader(Examined(images, image_size), batch_size=None, num_workers=workers)
    for index, (found, digest) in enumerate(watch(loader, total=len(images))):
        yield from found
        if digest:
            first = seen.setdefault(digest, index)
            if first != index:
                yield Fault("duplicate", images.name(index), f"the bytes of {images.name(first)}")
