"""Images as the bytes of their files: the header is read first, for the size; pixels are decoded when needed."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.data.images.decode import array_pixels, is_array, opened, orientation, pixels, readable
from pretrain.data.images.index import PackedNames


class DecodedImage(NamedTuple):
    """An image in memory, where an ``EncodedImage`` is expected."""

    pixels: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return tuple(self.pixels.shape[1:])

    def decode(self, reduction: int = 1) -> Tensor:
        return self.pixels


@dataclass(frozen=True)
class EncodedImage:
    """An image whose header was read. name: for messages; encoded: its file's bytes; size: (height, width) in px.

    turn: EXIF's orientation, which ``size`` takes into account.
    """

    name: str
    encoded: bytes
    image: Image.Image
    size: tuple[int, int]
    channels: int = 3
    turn: int = 1

    def decode(self, reduction: int = 1) -> Tensor:
        """uint8 [C, H, W]; see decode.py for what becomes of other kinds. BadImageError for damaged bytes. Once only.

        reduction: 1, 2, 4 or 8; a JPEG is decoded at that part of its size (rounded up), other formats as they are.
        """
        width, height = self.image.size
        draft = (max(1, height // reduction), max(1, width // reduction)) if reduction > 1 else None
        with readable(self.name), self.image:
            return pixels(self.encoded, self.image, self.channels, self.turn, draft)


class EncodedImages(Dataset, ABC):
    """A labelled data set of encoded images; an item is (uint8 [C, H, W], label). Three channels are RGB.

    A kind of storage says what its images are called (``name(index)``), where their bytes are (``encoded(index)``) and
    what changes with them (``identity()``). names: of the images, below the root or in their shards. classes: none
    where images have no labels, which are 0 then. found: in words, what was found and what was ignored.
    """

    def __init__(
        self, names: PackedNames, labels: Iterable[int], classes: Iterable[str], found: str = "", channels: int = 3
    ):
        # np.array: the labels of an index that is mapped into memory cannot be written to
        self.labels, self.classes = torch.from_numpy(np.array(labels, dtype=np.int64)), list(classes)
        self.names, self.found, self.channels = names, found, channels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.open(index).decode(), int(self.labels[index])

    def open(self, index: int) -> EncodedImage | DecodedImage:
        """Reads the bytes and the header. BadImageError names an image that cannot be read."""
        name = self.name(index)
        with readable(name):
            encoded = self.encoded(index)
            if is_array(encoded, self.channels):
                return DecodedImage(array_pixels(encoded, self.channels))
            image = opened(encoded)
            turn = orientation(encoded, image)
            size = (image.height, image.width) if turn < 5 else (image.width, image.height)
            return EncodedImage(name, encoded, image, size, self.channels, turn)

    @abstractmethod
    def name(self, index: int) -> str:
        """What messages call an image."""

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """Its file's bytes."""

    @abstractmethod
    def identity(self) -> Iterable[bytes]:
        """Names, sizes and times of change, to be hashed: other images have others."""
