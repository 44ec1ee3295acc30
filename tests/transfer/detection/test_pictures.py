"""Pictures of detections: classes by colour, labels inside of the picture, titles."""

import numpy as np
import pytest

from transfer.detection.pictures import Shape, colour_of, picture
from transfer.plots import styled

IMAGE = np.full((96, 128, 3), 90, dtype=np.uint8)
NAMES = [f"class $\\frac{{{i}}}$" for i in range(30)]


@pytest.fixture
def drawn():
    """The two halves of a picture of an object in each corner, one beyond the edge, with and without a mask."""
    mask = np.zeros(IMAGE.shape[:2], bool)
    mask[10:30, 10:30] = True
    shapes = [Shape((10, 10, 30, 30), 3, mask, 0.97), Shape((115, 80, 127, 95), 7, None, 0.5)]
    shapes += [Shape((-5, 90, 20, 99), 12, None, 1.0), Shape((120, -4, 140, 9), 7, None, 0.01)]
    with styled("p"):
        figure = picture(IMAGE, shapes[:2], shapes, NAMES, ("annotations of $a", "detections"))
        figure.canvas.draw()
        yield figure.axes


def test_every_label_and_score_lies_inside_of_the_picture(drawn):
    for axis in drawn:
        frame = axis.get_window_extent()
        for text in axis.texts:
            patch = text.get_bbox_patch().get_window_extent()
            assert patch.x0 >= frame.x0 - 1 and patch.x1 <= frame.x1 + 1, text
            assert patch.y0 >= frame.y0 - 1 and patch.y1 <= frame.y1 + 1, text
    assert [text.get_text() for text in drawn[1].texts][:2] == [f"{NAMES[3]} 97 %", f"{NAMES[7]} 50 %"]


def test_a_class_has_one_colour_on_both_sides_and_titles_say_what_they_are(drawn):
    left, right = ([patch.get_edgecolor() for patch in axis.patches] for axis in drawn)
    assert left == right[:2] and right[3] == right[1] and len({*right}) == 3
    assert [axis.get_title() for axis in drawn] == ["annotations of $a", "detections"]
    assert len({colour_of(label) for label in range(20)}) == 20 and colour_of(3) == colour_of(23)
