"""Pixels of encoded images: which formats are read, and what becomes of depths, transparency and orientation.

Pretraining and transfer both decode here. Every image becomes uint8 [C, H, W]:

- 16-bit gray is divided by 257 (its type's range); wider integers and floats are scaled from their least to their
  largest value;
- transparency is laid on white;
- the EXIF orientation is applied;
- everything else is as Pillow converts it (CMYK, palettes, black and white).

A warning tells of each of the first three once a process. PostScript and other formats that start programs are no
images: Pillow is given a list of formats.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO

import numpy as np
import simplejpeg
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import get_worker_info

from pretrain.common.errors import BadImageError, UserError

SAFE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "QOI", "SGI", "PCX")
ARRAY, ARRAY_MAGIC = ".npy", b"\x93NUMPY"
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
REGISTERED = Image.registered_extensions()  # also makes Pillow load its plugins
FORMATS = tuple(name for name in SAFE if name in Image.OPEN)
SUFFIXES = frozenset({suffix for suffix, name in REGISTERED.items() if name in FORMATS} | {".jfif", ARRAY})
ORIENTATION = 0x0112  # EXIF's tag
PHOTOMETRIC, MIN_IS_WHITE = 262, 0  # TIFF's tag, and its value for negatives
LATE_EXIF = (b"eXIf", b"Raw profile type")  # chunks of a PNG that may stand behind its pixels, which are read first
TURNED = {
    2: lambda x: x.flip(2),
    3: lambda x: x.flip(1, 2),
    4: lambda x: x.flip(1),
    5: lambda x: x.transpose(1, 2),
    6: lambda x: x.transpose(1, 2).flip(2),
    7: lambda x: x.transpose(1, 2).flip(1, 2),
    8: lambda x: x.transpose(1, 2).flip(1),
}
KINDS = {
    "deep": "16-bit images are divided by 257, so that their type's range becomes 0 to 255",
    "ranged": "images of floats or 32-bit integers are scaled from their least to their largest value",
    "transparent": "transparent images are laid on white",
    "turned": "images with an EXIF orientation are turned as it says",
}


def is_image_name(name: str) -> bool:
    """Whether a file's name ends as an image's does, in any case."""
    return "." in name and f".{name.rsplit('.', 1)[1].lower()}" in SUFFIXES


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns whatever decoders raise for bad bytes into one line (BadImageError) that names the image."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # struct.error, tokenize.TokenError, RuntimeError …: no list of them is complete
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "not an image in a known format" if unknown else " ".join(str(error).split()) or type(error).__name__
        raise BadImageError(f"cannot read the image {name}: {reason}") from None


def opened(encoded: bytes) -> Image.Image:
    """The header of an image in one of ``FORMATS``."""
    return Image.open(BytesIO(encoded), formats=FORMATS)


def orientation(encoded: bytes, image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8, of an image whose header was read. Pillow turns TIFF files itself."""
    late = image.format == "PNG" and any(mark in encoded for mark in LATE_EXIF)
    if image.format == "TIFF" or not ("exif" in image.info or late):
        return 1
    found = image.getexif().get(ORIENTATION, 1)
    return found if found in TURNED else 1


def pixels(encoded: bytes, image: Image.Image, channels: int, turn: int, draft: tuple[int, int] | None) -> Tensor:
    """uint8 [C, H, W] of an image whose header was read. draft: (height, width) that suffices of a JPEG, unturned."""
    if draft is not None:
        image.draft(None, draft[::-1])
    found = None
    if draft is None and channels == 3 and image.format == "JPEG" and image.mode == "RGB":
        # Pillow's pixels in two thirds of its time; what is not quite in order is for Pillow to judge
        with suppress(ValueError):
            found = torch.from_numpy(simplejpeg.decode_jpeg(encoded)).permute(2, 0, 1)
    if found is None:
        found = _planes(_flat(image, channels), channels)
    if turn == 1:
        return found
    notice("turned")
    return TURNED[turn](found)


def _flat(image: Image.Image, channels: int) -> np.ndarray:
    """uint8 [H, W] or [H, W, C'] without transparency, C' being 1, 3 or ``channels``."""
    if image.mode == "F" or image.mode.startswith("I"):
        values, sixteen = np.asarray(image), image.mode != "F" and _is_sixteen(image)
        if sixteen and image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == MIN_IS_WHITE:
            values = 65535 - values  # which Pillow does for 8 bits alone
        return scaled_to_bytes(values, sixteen)
    if channels not in (1, 3):
        return np.asarray(image)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            notice("transparent")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("L" if channels == 1 else "RGB"))


def _is_sixteen(image: Image.Image) -> bool:
    """Whether integers range to 65535. Pillow holds 16-bit PNM files in 32 bits."""
    return image.mode.startswith("I;16") or image.format in ("PPM", "PNG")


def scaled_to_bytes(values: np.ndarray, sixteen_bits: bool = False) -> np.ndarray:
    """uint8 of any numbers: as they are, divided by 257, or from their least to their largest finite value."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if sixteen_bits or values.dtype.newbyteorder("=") == np.uint16:
        notice("deep")
        return np.round(np.clip(values, 0, 65535) / 257).astype(np.uint8)
    if values.dtype.kind not in "fiu":
        raise ValueError(f"pixels of the type {values.dtype}")
    notice("ranged")
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError("no pixel is a finite number")
    low, high = values[finite].min(), values[finite].max()
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low
    return np.round(values * (255 / (high - low)) if high > low else values).astype(np.uint8)


def _planes(array: np.ndarray, channels: int) -> Tensor:
    """uint8 [H, W] or [H, W, C] -> [channels, H, W]; one plane stands for three."""
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or not array.size:
        raise ValueError(f"an array of shape {list(array.shape)}; expected [H, W], [H, W, {channels}]")
    if array.shape[2] == 1 and channels == 3:
        array = np.broadcast_to(array, (*array.shape[:2], 3))
    if array.shape[2] != channels:
        raise ValueError(f"{array.shape[2]} channels; expected {channels} (data.channels)")
    return torch.from_numpy(np.array(array)).permute(2, 0, 1).contiguous()


def is_array(encoded: bytes, channels: int) -> bool:
    """Whether the bytes are read by ``array_pixels``: a .npy file, or a TIFF of channels that Pillow may not know."""
    return encoded.startswith(ARRAY_MAGIC) or (channels not in (1, 3) and encoded[:4] in TIFF_MAGICS)


def array_pixels(encoded: bytes, channels: int) -> Tensor:
    """uint8 [channels, H, W] of the bytes of a .npy file, or of a TIFF file by tifffile."""
    if encoded.startswith(ARRAY_MAGIC):
        array = np.load(BytesIO(encoded), allow_pickle=False)
    else:
        try:
            import tifffile
        except ImportError:
            raise UserError(f"TIFF files of {channels} channels need tifffile; pip install tifffile") from None
        with tifffile.TiffFile(BytesIO(encoded)) as file:
            array = file.series[0].asarray()
    counts = (1, 3, 4) if channels == 1 else (1, channels)  # one channel is made of colours, too
    if array.ndim == 3 and array.shape[2] not in counts and array.shape[0] in counts:
        array = array.transpose(1, 2, 0)
    found = array.shape[2] if array.ndim == 3 and channels == 1 and array.shape[2] in counts else channels
    planes = _planes(scaled_to_bytes(array), found)
    return _gray(planes) if channels < found else planes


def _gray(planes: Tensor) -> Tensor:
    return torch.from_numpy(np.array(Image.fromarray(planes[:3].permute(1, 2, 0).numpy()).convert("L")))[None]


def notice(kind: str) -> None:
    """Warn that a kind of image was met, once a process, and of loader workers in the first one only."""
    worker = get_worker_info()
    if worker is None or worker.id == 0:
        warnings.warn(KINDS[kind], stacklevel=1)
