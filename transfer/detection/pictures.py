"""A picture of what a detector finds: an image with its annotations on the left, with the detections on the right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transfer.plots import new_figure
from transfer.text import printable

INCHES, DOTS = 4.0, 120  # of the longer side of each half, and for an inch
OPACITY = 0.4  # of masks
PALE = 1.75  # red, green and blue together, above which text is black


@dataclass(frozen=True)
class Shape:
    """One object. box: x0, y0, x1, y1 in pixels. label: a class's number. mask: bool [H, W]. score: of a detection."""

    box: Sequence[float]
    label: int
    mask: np.ndarray | None = None
    score: float | None = None


def picture(
    image: np.ndarray, annotated: list[Shape], found: list[Shape], names: Sequence[str], titles: tuple[str, str]
):
    """A matplotlib Figure. image: uint8 RGB [H, W, 3]. A class has the same colour in both halves, and in all pictures.

    Call it, and save it, within ``plots.styled``.
    """
    height, width = image.shape[:2]
    scale = INCHES / max(height, width)
    figure = new_figure(2 * width * scale + 0.3, height * scale + 0.5)
    texts = []
    for axis, shapes, title in zip(figure.subplots(1, 2), (annotated, found), titles):
        axis.imshow(with_masks(image, shapes), interpolation="nearest")
        for shape in shapes:
            texts.append((axis, draw_shape(axis, shape, names)))
        axis.set_title(printable(title), fontsize=9)
        axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        axis.set_axis_off()
    figure.canvas.draw()
    for axis, text in texts:
        keep_inside(axis, text)
    return figure


def with_masks(image: np.ndarray, shapes: Sequence[Shape]) -> np.ndarray:
    """``image`` as floats in [0, 1], under the masks of ``shapes`` in their order, each in the colour of its class."""
    shown = image / 255
    for shape in (shape for shape in shapes if shape.mask is not None):
        shown[shape.mask] += OPACITY * (colour_of(shape.label) - shown[shape.mask])
    return shown


def draw_shape(axis, shape: Shape, names: Sequence[str]):
    """The box and what it is, whose text is returned."""
    from matplotlib.patches import Rectangle

    colour = colour_of(shape.label)
    x0, y0, x1, y1 = shape.box
    axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.3))
    score = "" if shape.score is None else f" {100 * shape.score:.0f} %"
    ink = "black" if sum(colour) > PALE else "white"
    return axis.text(
        x0, y0, printable(names[shape.label]) + score, fontsize=7, color=ink, va="top", ha="left",
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
    )  # fmt: skip


def keep_inside(axis, text) -> None:
    """Move a text that runs over the picture's edge back into it."""
    patch, frame = text.get_bbox_patch().get_window_extent(), axis.get_window_extent()
    right = min(0.0, frame.x1 - patch.x1) or max(0.0, frame.x0 - patch.x0)
    up = max(0.0, frame.y0 - patch.y0) or min(0.0, frame.y1 - patch.y1)
    place = axis.transData.transform(text.get_position()) + np.array([right, up])
    text.set_position(axis.transData.inverted().transform(place))


def colour_of(label: int) -> tuple[float, float, float]:
    """Red, green and blue of a class, in [0, 1]."""
    from matplotlib import colormaps

    return colormaps["tab20"].colors[label * 2 % 20 + label // 10 % 2]  # the strong ones first, then the pale ones
