"""The stream of training images: detectron2's own order and groups, and a function of the iteration."""

from itertools import islice

import numpy as np
import pytest
from PIL import Image

from pretrain.common.errors import UserError
from tests.requirements import requires

pytestmark = requires("detection")
LANDSCAPE = [True, True, False, True, False, True, True]


def places(count, **options):
    from transfer.detection.stream import BatchStream

    return list(islice(BatchStream(7, 2, seed=3, **options), count))


@pytest.mark.parametrize("landscape", [None, LANDSCAPE])
def test_a_continued_stream_is_the_rest_of_the_whole_one(landscape):
    whole = places(40, landscape=landscape)
    for start in (1, 7, 23):
        assert places(40 - start, start=start, landscape=landscape) == whole[start:]


@pytest.mark.parametrize("grouped", [False, True])
def test_order_and_groups_are_detectron2s(grouped):
    from detectron2.data import build_detection_train_loader
    from detectron2.data.samplers import TrainingSampler

    records = [{"width": 2 if wide else 1, "height": 1, "index": i} for i, wide in enumerate(LANDSCAPE)]
    loader = build_detection_train_loader(
        records, mapper=lambda record: record, sampler=TrainingSampler(7, seed=3), total_batch_size=2,
        aspect_ratio_grouping=grouped,
    )  # fmt: skip
    theirs = [[record["index"] for record in batch] for batch in islice(loader, 30)]
    ours = [[index for index, _ in batch] for batch in places(30, landscape=LANDSCAPE if grouped else None)]
    assert ours == theirs


def test_a_batch_is_all_landscape_or_all_portrait():
    for batch in places(30, landscape=LANDSCAPE):
        assert len({LANDSCAPE[index] for index, _ in batch}) == 1


def test_an_image_has_another_number_in_each_pass():
    numbers = [number for batch in places(14) for _, number in batch]
    assert numbers == list(range(28))


@pytest.fixture
def images(tmp_path):
    """A mapper -> detectron2's stream of one image."""
    from transfer.detection.detectron2.loaders import StreamedImages

    path = tmp_path / "a.jpg"
    Image.new("RGB", (1, 1)).save(path)

    def images(mapper, seed=0):
        return StreamedImages([{"file_name": str(path), "width": 1, "height": 1}], mapper, seed)

    return images


def test_augmentations_are_a_function_of_the_place_and_leave_numpys_generator_alone(images):
    np.random.seed(5)
    expected = np.random.RandomState(5).uniform()
    draws = images(lambda record: np.random.uniform())
    assert draws[0, 4] == draws[0, 4] != draws[0, 5]
    assert draws[0, 4] != images(lambda record: np.random.uniform(), seed=1)[0, 4]
    assert np.random.uniform() == expected


@pytest.mark.parametrize("error", [OSError("image file is truncated"), SyntaxError("broken PNG"), ValueError("no")])
def test_an_image_that_cannot_be_read_is_named(images, error):
    def mapper(record):
        raise error

    with pytest.raises(UserError, match=f"a.jpg cannot be used: {error}"):
        images(mapper)[0, 0]


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"x" * 99, b""])
def test_what_is_no_safe_image_is_not_opened_whatever_it_is_called(images, tmp_path, content):
    """PostScript would start Ghostscript."""
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.jpg cannot be used: cannot identify image file"):
        images(lambda record: pytest.fail("was opened"))[0, 0]


def test_a_picture_of_more_pixels_than_a_photograph_has_is_refused(images, tmp_path):
    """In one line, before memory for them is asked for."""
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.jpg", "PNG")
    with pytest.raises(UserError, match=r"a\.jpg cannot be used: Image size .* exceeds limit"):
        images(lambda record: pytest.fail("was opened"))[0, 0]


def test_an_image_of_another_size_than_annotated_is_named(images):
    from detectron2.data.detection_utils import SizeMismatchError

    def mapper(record):
        raise SizeMismatchError("...")

    with pytest.raises(UserError, match="a.jpg is not 1 x 1 pixels large, as its annotation says"):
        images(mapper)[0, 0]
