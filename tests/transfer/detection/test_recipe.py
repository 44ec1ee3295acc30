"""The config of one training from a recipe, a backbone, data and the command line."""

from dataclasses import replace

import pytest

from pretrain.errors import UserError
from tests.requirements import requires
from transfer.convert import convert
from transfer.detection.datasets import read_coco, registered
from transfer.detection.recipe import COCO, plain_settings, resolve, summary

pytestmark = requires("detection")


@pytest.fixture
def resolved(source, tmp_path):
    """Settings -> the config of a backbone of width 0.5, resolved for an output folder."""

    def resolve_for(settings, output="run"):
        backbone = convert(source.net.extract(0.5), "detectron2", tmp_path / output / "backbone", source.net.metadata)[
            0
        ]
        data = read_coco(settings.data)
        with registered(data) as names:
            return resolve(settings, backbone, data, names, tmp_path / output)

    return resolve_for


def test_backbone_classes_and_masks_come_from_checkpoint_and_data(resolved, settings):
    config = resolved(settings)
    assert [stage.out_channels for stage in config.model.backbone.bottom_up.stages] == [16, 32, 64, 128]
    assert config.model.roi_heads.num_classes == 10
    assert config.dataloader.train.mapper.instance_mask_format == "bitmask"
    assert list(config.model.pixel_mean) == [127.5] * 3


def test_the_learning_rate_scales_with_the_batch(resolved, settings):
    for batch in (4, 16, 64):
        config = resolved(replace(settings, recipe=COCO, batch=batch))
        assert config.optimizer.lr == pytest.approx(0.02 * batch / 16)
        assert config.dataloader.train.total_batch_size == batch


def test_what_is_not_said_is_the_recipes(resolved, settings):
    config = resolved(replace(settings, recipe=COCO, batch=None, iterations=None, image_size=None))
    assert (config.optimizer.lr, config.dataloader.train.total_batch_size, config.train.max_iter) == (0.02, 16, 90000)
    assert list(config.dataloader.train.mapper.augmentations[0].short_edge_length) == [640, 672, 704, 736, 768, 800]
    assert config.model.backbone.bottom_up.freeze_at == 0 and config.model.input_format == "RGB"


def test_overrides_come_last(resolved, settings):
    config = resolved(replace(settings, batch=8, overrides=("optimizer.lr=0.5", "dataloader.train.total_batch_size=6")))
    assert (config.optimizer.lr, config.dataloader.train.total_batch_size) == (0.5, 6)


def test_the_hashed_settings_hold_what_matters_and_no_paths(resolved, settings):
    one, other = plain_settings(resolved(settings, "a")), plain_settings(resolved(settings, "b"))
    assert one == other and "/" not in str(one)
    assert plain_settings(resolved(replace(settings, overrides=("optimizer.lr=0.5",)))) != one
    assert one["model"]["backbone"]["bottom_up"]["stages"][0]["block_class"].endswith("BasicBlock")


def test_the_summary_says_what_decides(resolved, settings):
    lines = summary(resolved(settings), read_coco(settings.data)).splitlines()
    assert len(lines) == 5 and "6 training and 3 validation images, 10 classes" in lines[0]
    assert "shorter side 64 px" in lines[1] and "2 iterations of 2 images" in lines[4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 3, "num_gpus": 2}, "a batch of 3 is not divisible by 2 processes"),
        ({"image_size": -1}, "--image-size -1 is not positive"),
        ({"iterations": -5}, "--iterations -5 is not positive"),
        ({"overrides": ("model.backbones.norm=GN",)}, "did you mean 'model.backbone'"),
    ],
)
def test_values_that_do_not_fit_are_refused(resolved, settings, change, message):
    with pytest.raises(UserError, match=message):
        resolved(replace(settings, **change))


def test_a_missing_recipe_is_named(resolved, settings, tmp_path):
    with pytest.raises(UserError, match="no such recipe: .*nothing.py"):
        resolved(replace(settings, recipe=tmp_path / "nothing.py"))
