"""The stream of training images."""

from itertools import islice

from tests.requirements import requires

pytestmark = requires("detection")


def test_a_continued_stream_is_the_rest_of_the_whole_one():
    from transfer.detection.training import ContinuingSampler

    whole = list(islice(ContinuingSampler(5, seed=3, start=0), 20))
    assert sorted(whole[:5]) == sorted(whole[5:10]) == list(range(5))
    assert list(islice(ContinuingSampler(5, seed=3, start=7), 13)) == whole[7:]
    assert list(islice(ContinuingSampler(5, seed=4, start=0), 20)) != whole


def test_it_is_detectron2s_stream():
    from detectron2.data.samplers import TrainingSampler

    from transfer.detection.training import ContinuingSampler

    assert list(islice(ContinuingSampler(9, seed=1, start=0), 30)) == list(islice(TrainingSampler(9, seed=1), 30))
