"""The random parameters of views, for many samples at once: each row is a pure function of its key alone.

Distributions are torchvision's (RandomResizedCrop, ColorJitter, …), so that
``Augmentation`` means the same here and there.
"""

from dataclasses import dataclass, fields

import numpy as np

from pretrain.common.randomness import uniforms
from pretrain.data.augmentation.settings import Augmentation

RANDOM_NUMBERS = 2  # what views of one seed look like; raised when that changes, so that features of both never mix
TRIES = 10  # RandomResizedCrop draws a box as often before it takes the largest centred one


@dataclass(frozen=True)
class ViewParameters:
    """One row per view. box: top, left, height, width in px of the source. angle: degrees, counter-clockwise.

    flip, jitter, grayscale, blur, solarize: whether the step is applied. order: permutation of (brightness, contrast,
    saturation, hue). factors: of these four, [N, 4]. sigma: of the blur, px.
    """

    box: np.ndarray
    angle: np.ndarray
    flip: np.ndarray
    jitter: np.ndarray
    order: np.ndarray
    factors: np.ndarray
    grayscale: np.ndarray
    blur: np.ndarray
    sigma: np.ndarray
    solarize: np.ndarray

    @classmethod
    def joined(cls, parts: list["ViewParameters"]) -> "ViewParameters":
        """The rows of all ``parts``, one part after the other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def __getitem__(self, rows: slice | np.ndarray) -> "ViewParameters":
        return ViewParameters(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_parameters(augmentation: Augmentation, keys: np.ndarray, sizes: np.ndarray) -> ViewParameters:
    """keys: int64 [N, K], e.g. (seed, epoch, sample, view). sizes: (height, width) of each source image, [N, 2]."""
    u = uniforms("views", keys, 4 * TRIES + 15)
    box, rest = _boxes(augmentation, u[:, : 4 * TRIES], sizes), u[:, 4 * TRIES :].T
    strength = np.array(augmentation.jitter)
    low, high = np.maximum(0, 1 - strength), 1 + strength
    low[3], high[3] = -strength[3], strength[3]  # hue is a shift, not a factor
    return ViewParameters(
        box=box,
        angle=(2 * rest[0] - 1) * augmentation.rotation,
        flip=rest[1] < augmentation.flip,
        jitter=rest[2] < augmentation.jitter_p,
        order=np.argsort(rest[3:7].T, axis=1),
        factors=low + (high - low) * rest[7:11].T,
        grayscale=rest[11] < augmentation.grayscale,
        blur=rest[12] < augmentation.blur,
        sigma=augmentation.blur_sigma[0] + (augmentation.blur_sigma[1] - augmentation.blur_sigma[0]) * rest[13],
        solarize=rest[14] < augmentation.solarize,
    )


def _boxes(augmentation: Augmentation, u: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The first of ``TRIES`` boxes of random area and aspect that lies in the image, else the largest centred one."""
    area, aspect, down, across = u.reshape(len(u), 4, TRIES).transpose(1, 0, 2)
    rows, columns = sizes[:, :1], sizes[:, 1:]
    smallest, largest = augmentation.crop_scale
    target = rows * columns * (smallest + (largest - smallest) * area)
    low, high = np.log(augmentation.crop_ratio)
    ratio = np.exp(low + (high - low) * aspect)
    width, height = np.round(np.sqrt(target * ratio)), np.round(np.sqrt(target / ratio))
    fits = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
    top, left = np.floor(down * (rows - height + 1)), np.floor(across * (columns - width + 1))
    boxes = np.stack([top, left, height, width], axis=-1)[np.arange(len(u)), fits.argmax(axis=1)]
    return np.where(fits.any(axis=1)[:, None], boxes, _centred(augmentation, sizes)).astype(np.int64)


def _centred(augmentation: Augmentation, sizes: np.ndarray) -> np.ndarray:
    rows, columns = sizes.T
    ratio = columns / rows
    width = np.where(ratio > augmentation.crop_ratio[1], np.round(rows * augmentation.crop_ratio[1]), columns)
    height = np.where(ratio < augmentation.crop_ratio[0], np.round(columns / augmentation.crop_ratio[0]), rows)
    return np.stack([(rows - height) // 2, (columns - width) // 2, height, width], axis=-1)
