"""The stream of training images: detectron2's own order and groups, and a function of the iteration."""

from itertools import islice

import numpy as np
import pytest

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


def images(mapper, seed=0):
    from transfer.detection.detectron2.loaders import StreamedImages

    return StreamedImages([{"file_name": "a.jpg", "width": 1, "height": 1}], mapper, seed)


def test_augmentations_are_a_function_of_the_place_and_leave_numpys_generator_alone():
    np.random.seed(5)
    expected = np.random.RandomState(5).uniform()
    draws = images(lambda record: np.random.uniform())
    assert draws[0, 4] == draws[0, 4] != draws[0, 5]
    assert draws[0, 4] != images(lambda record: np.random.uniform(), seed=1)[0, 4]
    assert np.random.uniform() == expected


@pytest.mark.parametrize("error", [OSError("image file is truncated"), SyntaxError("broken PNG"), ValueError("no")])
def test_an_image_that_cannot_be_read_is_named(error):
    def mapper(record):
        raise error

    with pytest.raises(UserError, match=f"a.jpg cannot be used: {error}"):
        images(mapper)[0, 0]


def test_an_image_of_another_size_than_annotated_is_named():
    from detectron2.data.detection_utils import SizeMismatchError

    def mapper(record):
        raise SizeMismatchError("...")

    with pytest.raises(UserError, match="a.jpg is not 1 x 1 pixels large, as its annotation says"):
        images(mapper)[0, 0]
