"""Pictures of detections: classes by colour, labels inside of the picture, titles."""

import numpy as np
import pytest

from transfer.detection.pictures import OPACITY, Shape, colour_of, picture, with_masks
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


def test_a_mask_is_its_classs_colour_over_the_image_and_later_masks_lie_over_earlier_ones():
    """Compared with a loop over pixels; the image stays as it was."""
    one, two = np.zeros(IMAGE.shape[:2], bool), np.zeros(IMAGE.shape[:2], bool)
    one[:2, :3], two[1:4, 2:5] = True, True
    found = with_masks(IMAGE, [Shape((0, 0, 3, 2), 3, one), Shape((2, 1, 5, 4), 7, two), Shape((0, 0, 9, 9), 1)])
    for y, x in np.ndindex(5, 6):
        expected = np.full(3, 90 / 255)
        for mask, label in ((one, 3), (two, 7)):
            if mask[y, x]:
                expected = (1 - OPACITY) * expected + OPACITY * np.array(colour_of(label))
        np.testing.assert_allclose(found[y, x], expected, rtol=1e-12)
    assert (found[5:] == 90 / 255).all() and (IMAGE == 90).all()
