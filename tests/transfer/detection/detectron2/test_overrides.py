"""key=value against a recipe."""

import pytest

from pretrain.common.errors import UserError
from tests.requirements import requires
from tests.transfer.detection.recipes import COCO
from transfer.detection.detectron2.overrides import apply_overrides

pytestmark = requires("detection")


@pytest.fixture
def recipe():
    from detectron2.config import LazyConfig

    return LazyConfig.load(str(COCO))


def test_values_are_numbers_strings_and_lists(recipe):
    apply_overrides(recipe, ["optimizer.lr=0.1", "model.backbone.norm=GN", "train.checkpointer.period=7"])
    apply_overrides(recipe, ["model.proposal_generator.pre_nms_topk=[50,40]"])
    apply_overrides(recipe, ["model.backbone.bottom_up.stages.0.norm=GN"])
    assert (recipe.optimizer.lr, recipe.model.backbone.norm, recipe.train.checkpointer.period) == (0.1, "GN", 7)
    assert recipe.model.proposal_generator.pre_nms_topk == [50, 40]
    assert recipe.model.backbone.bottom_up.stages[0].norm == "GN" != recipe.model.backbone.bottom_up.stages[1].norm


def test_an_argument_that_the_recipe_leaves_at_its_default_may_be_set(recipe):
    apply_overrides(recipe, ["model.backbone.fuse_type=avg", "dataloader.test.batch_size=2"])
    assert (recipe.model.backbone.fuse_type, recipe.dataloader.test.batch_size) == ("avg", 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.lr=1", "unknown key 'optimiser.lr'; did you mean 'optimizer'?"),
        ("optimizer.learning_rate=1", "unknown key 'optimizer.learning_rate'"),
        ("model.roi_head.num_classes=3", "did you mean 'model.roi_heads'?"),
        ("optimizer.lr.deep=3", "unknown key 'optimizer.lr.deep'"),
        ("model.backbone.bottom_up.stages.4.norm=GN", "'4' in .* is no index; expected 0 to 3"),
        ("optimizer.lr=fast", "optimizer.lr is a number \\(0.02\\), but 'fast' is none"),
        ("optimizer.lr=[1", "optimizer.lr is a number .*, but '\\[1' is none"),
        ("optimizer.lr=1e999", "optimizer.lr is a number .*, but 'inf' is none"),
        ("lr", "'lr' is no override; expected key=value"),
        ("=1", "'=1' is no override; expected key=value"),
    ],
)
def test_what_nothing_would_read_is_refused_in_one_line(recipe, override, message):
    with pytest.raises(UserError, match=message.replace("?", "\\?")) as error:
        apply_overrides(recipe, [override])
    assert "\n" not in str(error.value)
