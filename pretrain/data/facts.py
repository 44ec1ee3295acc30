"""What a method may know of the images that it learns from."""

from typing import NamedTuple


class ImageFacts(NamedTuple):
    """classes: of the labels, 0 without. channels, image_size: of a view, in px. mean, std: of its normalisation."""

    classes: int = 0
    channels: int = 3
    image_size: int = 32
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
