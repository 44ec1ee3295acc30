"""A recipe at another image size."""

import pytest

from tests.requirements import requires
from tests.transfer.detection.recipes import COCO, DIGITS
from transfer.detection.detectron2.resolution import image_size, scale_to

pytestmark = requires("detection")


@pytest.fixture
def recipe():
    from detectron2.config import LazyConfig

    return LazyConfig.load(str(COCO))


def test_pixels_scale_with_the_image(recipe):
    assert image_size(recipe.dataloader) == 800
    scale_to(recipe.model, recipe.dataloader, 400)
    train, test = recipe.dataloader.train.mapper.augmentations[0], recipe.dataloader.test.mapper.augmentations[0]
    assert list(train.short_edge_length) == [320, 336, 352, 368, 384, 400] and train.max_size == 666
    assert (test.short_edge_length, test.max_size) == (400, 666)
    assert recipe.model.proposal_generator.anchor_generator.sizes == [[16], [32], [64], [128], [256]]


def test_proposals_scale_with_the_image_down_to_a_floor(recipe):
    scale_to(recipe.model, recipe.dataloader, 128)
    rpn, heads = recipe.model.proposal_generator, recipe.model.roi_heads
    assert (rpn.pre_nms_topk, rpn.post_nms_topk) == ([320, 160], [160, 160])
    assert (rpn.batch_size_per_image, heads.batch_size_per_image) == (41, 82)
    scale_to(recipe.model, recipe.dataloader, 16)
    assert (rpn.post_nms_topk, rpn.batch_size_per_image) == ([32, 32], 32)


def test_the_recipes_own_size_changes_nothing(recipe):
    from detectron2.config import LazyConfig

    scale_to(recipe.model, recipe.dataloader, 800)
    original = LazyConfig.load(str(COCO))
    assert recipe.dataloader == original.dataloader
    assert recipe.model.roi_heads == original.model.roi_heads
    assert recipe.model.proposal_generator == original.model.proposal_generator


def test_a_recipe_for_small_images_scales_from_its_own_size():
    from detectron2.config import LazyConfig

    recipe = LazyConfig.load(str(DIGITS))
    assert image_size(recipe.dataloader) == 128
    before = [level[0] for level in recipe.model.proposal_generator.anchor_generator.sizes]
    scale_to(recipe.model, recipe.dataloader, 64)
    assert [level[0] for level in recipe.model.proposal_generator.anchor_generator.sizes] == [s / 2 for s in before]
