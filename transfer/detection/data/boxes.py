"""What becomes of a box that does not lie in its image, alike for COCO and VOC, for training and validation.

- up to a pixel beyond the border: rounding, left as it is
- further beyond it: clipped to the image, counted and said
- without any area: left out with its object, counted and said
- narrower than a pixel: a pixel wide, counted and said, as mmdet's reader would leave it out and others would not
- of a negative size, or wholly outside: refused, as the annotation means something else
"""

from dataclasses import dataclass

ROUNDING = 1.0  # pixels
NARROWEST = 1.0  # pixels of a side
Box = tuple[float, float, float, float]


@dataclass
class Tally:
    """How many boxes of a file were changed. parts: polygons without an area of objects that have others. areas: of 0
    beside a box that has one."""

    clipped: int = 0
    empty: int = 0
    narrow: int = 0
    parts: int = 0
    areas: int = 0

    def said(self) -> str:
        """Summary in words, empty where nothing was changed."""
        counts = (
            (self.clipped, "clipped to the image"),
            (self.empty, "left out, without area"),
            (self.narrow, "widened to a pixel"),
            (self.parts, "polygons left out, without area"),
            (self.areas, "areas of 0 replaced by those of their boxes"),
        )
        return ", ".join(f"{count} {what}" for count, what in counts if count)


def inside(box: Box, width: int, height: int, tally: Tally) -> Box | None:
    """``box`` (x0, y0, x1, y1 in pixels from the upper left corner) as it is used; None where nothing is left.

    Errors: ValueError that says what is wrong with it.
    """
    x0, y0, x1, y1 = box
    if x1 < x0 or y1 < y0:
        raise ValueError("has a negative size")
    if x1 == x0 or y1 == y0:
        tally.empty += 1
        return None
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise ValueError(f"does not lie in the image of {width} x {height} pixels")
    if min(x0, y0) < -ROUNDING or x1 > width + ROUNDING or y1 > height + ROUNDING:
        tally.clipped += 1
        x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    if min(x1 - x0, y1 - y0) < NARROWEST:
        tally.narrow += 1
        (x0, x1), (y0, y1) = widened(x0, x1, width), widened(y0, y1, height)
    return x0, y0, x1, y1


def widened(start: float, end: float, side: int) -> tuple[float, float]:
    """A side of a box that is at least ``NARROWEST`` long, within an image of ``side`` pixels."""
    start = min(start, max(side - NARROWEST, 0.0)) if end - start < NARROWEST else start
    return start, max(end, start + NARROWEST)
