"""Learning rate, iterations and warm-up follow the batch; each value says what it came from."""

import pytest

from pretrain.common.errors import UserError
from transfer.detection.schedule import Schedule, explain, scale

COCO = Schedule(batch=16, learning_rate=0.02, iterations=90_000, warmup=1000, processes=8)


@pytest.mark.parametrize(("processes", "batch"), [(1, 2), (2, 4), (8, 16), (16, 32)])
def test_each_process_takes_as_many_images_as_in_the_recipe(processes, batch):
    used = scale(COCO, processes)
    assert (used.batch, used.processes) == (batch, processes)
    assert used.learning_rate == pytest.approx(0.02 * batch / 16)


@pytest.mark.parametrize("batch", [1, 2, 4, 10, 16, 64])
def test_epochs_and_images_of_the_warm_up_stay(batch):
    used = scale(COCO, 1, batch)
    assert used.iterations * batch == pytest.approx(90_000 * 16, rel=1e-4)
    assert used.warmup * batch == pytest.approx(1000 * 16, rel=1e-2)


def test_a_given_length_changes_neither_learning_rate_nor_warm_up_until_that_is_a_tenth():
    assert scale(COCO, 8, iterations=20_000) == Schedule(16, 0.02, 20_000, 1000, 8)
    assert scale(COCO, 8, iterations=500).warmup == 50
    assert scale(COCO, 8, iterations=3).warmup == 1
    assert scale(Schedule(2, 1e-3, 100, 0, 1), 1).warmup == 0


def test_a_batch_must_be_shared_evenly():
    with pytest.raises(UserError, match="a batch of 6 is not divisible by 4 processes"):
        scale(COCO, 4, 6)


def reasons(used, overridden=()):
    return [line.split("(", 1)[1].rstrip(")") for line in explain(COCO, used, overridden)]


def test_the_recipes_own_values_are_said_to_be_its_own():
    assert reasons(scale(COCO, 8))[1:] == ["the recipe's"] * 3


def test_scaled_values_say_from_what():
    assert explain(COCO, scale(COCO, 4)) == [
        "batch       8 images (2 for each of 4 processes, as in the recipe)",
        "rate        0.01 (0.02 for the recipe's 16 images, x 8/16)",
        "iterations  180000 (the recipe's 90000 x 16/8, which keeps the number of epochs)",
        "warm-up     2000 iterations (the recipe's 1000 x 16/8, which keeps the number of its images)",
    ]


def test_what_was_asked_for_or_overridden_is_said_to_be():
    found = reasons(scale(COCO, 1, 4, 50), ("learning_rate",))
    assert found == [
        "as asked; the recipe's is 16",
        "set on the command line",
        "as asked",
        "a tenth of the training, no more",
    ]
