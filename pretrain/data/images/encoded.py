"""Images as the bytes of their files: the header is read first, for the size; pixels are decoded when needed."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO

import simplejpeg
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as V

from pretrain.common.errors import UserError


@dataclass(frozen=True)
class EncodedImage:
    """An image whose header was read. name: for messages; encoded: its file's bytes; size: (height, width) in px."""

    name: str
    encoded: bytes
    image: Image.Image
    size: tuple[int, int]

    def decode(self, reduction: int = 1) -> Tensor:
        """uint8 [3, H, W]; grayscale, palette and CMYK images become RGB. UserError for damaged bytes. Once only.

        reduction: 1, 2, 4 or 8; a JPEG is decoded at that part of its size (rounded up), other formats as they are.
        """
        with readable(self.name), self.image:
            if reduction > 1:
                height, width = (max(1, side // reduction) for side in self.size)
                self.image.draft(None, (width, height))
            elif self.image.format == "JPEG" and self.image.mode == "RGB":
                # Pillow's pixels in two thirds of its time; what is not quite in order is for Pillow to judge
                with suppress(ValueError):
                    return torch.from_numpy(simplejpeg.decode_jpeg(self.encoded)).permute(2, 0, 1)
            return V.pil_to_tensor(self.image.convert("RGB"))


class EncodedImages(Dataset, ABC):
    """A labelled data set of encoded images; an item is (uint8 [3, H, W] in RGB, label).

    A kind of storage says what its images are called (``name(index)``), where their bytes are (``encoded(index)``) and
    what changes with them (``identity()``).
    """

    def __init__(self, labels: Iterable[int], classes: Iterable[str]):
        self.labels, self.classes = torch.as_tensor(labels, dtype=torch.int64), list(classes)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.open(index).decode(), int(self.labels[index])

    def open(self, index: int) -> EncodedImage:
        """Reads the bytes and the header. UserError names an image that cannot be read."""
        name = self.name(index)
        with readable(name):
            encoded = self.encoded(index)
            image = Image.open(BytesIO(encoded))
            return EncodedImage(name, encoded, image, (image.height, image.width))

    @abstractmethod
    def name(self, index: int) -> str:
        """What messages call an image."""

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """Its file's bytes."""

    @abstractmethod
    def identity(self) -> Iterable[bytes]:
        """Names, sizes and times of change, to be hashed: other images have others."""


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns whatever Pillow raises for bad bytes into one line that names the image."""
    try:
        yield
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "not an image in a known format" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"cannot read the image {name}: {reason}") from None
