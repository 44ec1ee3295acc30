"""JPEGs decoded at a half, a quarter or an eighth of their size, where the views of an image need no more.

libjpeg computes such sizes straight from a block's low frequencies, in a fraction of the time. The result is close to
that of the whole image, not equal: an averaged image is resized instead of the image.
"""

import numpy as np

REDUCTIONS = (8, 4, 2)


def reduction(boxes: np.ndarray, image_size: int) -> int:
    """The largest reduction that leaves all boxes (top, left, height, width; [N, 4]) image_size px a side; or 1."""
    shortest = boxes[:, 2:].min()
    return next((factor for factor in REDUCTIONS if shortest >= factor * image_size), 1)


def scaled(boxes: np.ndarray, size: tuple[int, int], decoded: tuple[int, int]) -> np.ndarray:
    """Boxes of an image of ``size`` (height, width) px in its version of ``decoded`` px, to a rounding."""
    limits = np.array(decoded)
    ratio = limits / np.array(size)
    lengths = np.clip(np.round(boxes[:, 2:] * ratio), 1, limits)
    starts = np.minimum(np.round(boxes[:, :2] * ratio), limits - lengths)
    return np.concatenate([starts, lengths], axis=1).astype(np.int64)
