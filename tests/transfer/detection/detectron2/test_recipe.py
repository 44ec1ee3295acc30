"""The config of one training from a recipe, a backbone, data and the command line."""

from dataclasses import replace

import pytest

from pretrain.common.errors import UserError
from tests.pretrain.helpers import MEAN
from tests.requirements import requires
from tests.transfer.detection.recipes import COCO, VOC
from transfer.convert import convert
from transfer.detection.detectron2.recipe import FOLDER, OWN, check_target, resolve, settings_values, summary
from transfer.detection.settings import DetectionSettings
from transfer.targets import TARGETS

pytestmark = requires("detection")


@pytest.fixture
def resolve_for(source, tmp_path):
    """Settings -> what they resolve to with a backbone of width 0.5 and an output folder."""

    def resolve_for(settings, output="run"):
        folder = tmp_path / output
        backbone = convert(source.net.extract(0.5), "detectron2", folder / "backbone", source.net.metadata)[0]
        return resolve(settings, backbone, TARGETS[settings.target].reader.read(settings.data), folder)

    return resolve_for


@pytest.fixture
def resolved(resolve_for):
    """Settings -> the config alone."""
    return lambda *arguments: resolve_for(*arguments).config


def test_backbone_classes_and_masks_come_from_checkpoint_and_data(resolved, settings):
    config = resolved(settings)
    assert [stage.out_channels for stage in config.model.backbone.bottom_up.stages] == [16, 32, 64, 128]
    assert config.model.roi_heads.num_classes == 10
    assert config.dataloader.train.mapper.instance_mask_format == "bitmask"
    assert list(config.model.pixel_mean) == pytest.approx([255 * m for m in MEAN])


def test_a_recipe_freezes_and_normalises_the_converted_backbone_as_it_says(resolved, settings, tmp_path):
    from detectron2.config import instantiate

    recipe = tmp_path / "mine.py"

    def written(*lines: str):
        start = ["from detectron2.config import LazyConfig", f'own = LazyConfig.load("{COCO}")']
        parts = [f"{name} = own.{name}" for name in ("model", "dataloader", "optimizer", "lr_multiplier", "train")]
        recipe.write_text("\n".join([*start, *parts, *lines]))
        return replace(settings, recipe=recipe)

    frozen = ["bottom = model.backbone.bottom_up", "bottom.freeze_at = 2"]
    frozen += [f"bottom.{part}.norm = 'FrozenBN'" for part in ("stem", "stages[0]")]
    backbone = resolved(written(*frozen)).model.backbone.bottom_up
    assert (backbone.freeze_at, backbone.stem.norm, backbone.stem.out_channels) == (2, "FrozenBN", 16)
    assert [stage.norm for stage in backbone.stages] == ["FrozenBN", "BN", "BN", "BN"]
    assert [stage.out_channels for stage in backbone.stages] == [16, 32, 64, 128]
    network = instantiate(backbone)
    trained = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {"res3", "res4", "res5"}
    with pytest.raises(UserError, match="the backbone of mine.py is no ResNet with a stem, 4 stages"):
        resolved(written("model.backbone.bottom_up = dict(kind='other')"))


def test_the_schedule_follows_batch_and_processes(resolved, settings):
    settings = replace(settings, recipe=COCO, iterations=None)
    for batch, processes in ((4, 1), (16, 8), (64, 2)):
        config = resolved(replace(settings, batch=batch, num_gpus=processes))
        assert config.optimizer.lr == pytest.approx(0.02 * batch / 16)
        assert config.dataloader.train.total_batch_size == batch and config.train.max_iter == 90_000 * 16 // batch
        assert config.lr_multiplier.warmup_length == pytest.approx(1000 / 90_000)
        assert config.train.eval_period == config.train.checkpointer.period == 5000 * 16 // batch


def test_what_is_not_said_is_the_recipes(resolved, settings):
    config = resolved(replace(settings, recipe=None, batch=None, iterations=None, image_size=None, num_gpus=8))
    assert (config.optimizer.lr, config.dataloader.train.total_batch_size, config.train.max_iter) == (0.02, 16, 90000)
    assert list(config.dataloader.train.mapper.augmentations[0].short_edge_length) == [640, 672, 704, 736, 768, 800]
    assert config.model.backbone.bottom_up.freeze_at == 0 and config.model.input_format == "RGB"
    assert (config.train.eval_period, config.lr_multiplier.warmup_length) == (5000, pytest.approx(1000 / 90_000))


def test_overrides_come_last(resolved, settings):
    config = resolved(replace(settings, batch=8, overrides=("optimizer.lr=0.5", "dataloader.train.total_batch_size=6")))
    assert (config.optimizer.lr, config.dataloader.train.total_batch_size) == (0.5, 6)


def test_the_hashed_settings_hold_what_matters_and_no_paths(resolved, settings):
    one, other = settings_values(resolved(settings, "a")), settings_values(resolved(settings, "b"))
    assert one == other and "/" not in str(one)
    assert settings_values(resolved(replace(settings, overrides=("optimizer.lr=0.5",)))) != one
    assert one["model"]["backbone"]["bottom_up"]["stages"][0]["block_class"].endswith("BasicBlock")


def test_the_summary_says_what_decides_and_why(resolve_for, settings):
    settings = replace(settings, batch=4, overrides=("optimizer.lr=0.5",))
    lines = summary(resolve_for(settings), TARGETS["coco"].reader.read(settings.data)).splitlines()
    assert len(lines) == 9 and "6 training and 3 validation images, 10 classes" in lines[0]
    assert "shorter side 64 px" in lines[1] and lines[5] == "batch       4 images (as asked; the recipe's is 2)"
    assert lines[6] == "rate        0.5 (set on the command line)" and lines[7] == "iterations  2 (as asked)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 3, "num_gpus": 2}, "a batch of 3 is not divisible by 2 processes"),
        ({"overrides": ("dataloader.train.total_batch_size=3",), "num_gpus": 2}, "a batch of 3 is not divisible"),
        ({"overrides": ("model.backbones.norm=GN",)}, "did you mean 'model.backbone'"),
    ],
)
def test_values_that_do_not_fit_are_refused(resolved, settings, change, message):
    with pytest.raises(UserError, match=message):
        resolved(replace(settings, **change))


@pytest.mark.parametrize(("recipe", "target"), [(COCO, "voc"), (VOC, "coco")])
def test_a_recipe_for_the_other_target_is_refused(recipe, target):
    from detectron2.config import LazyConfig

    with pytest.raises(UserError, match=f"expected one for {target} such as {OWN[target].name}"):
        check_target(LazyConfig.load(str(recipe)), DetectionSettings(target=target, recipe=recipe))


def test_a_recipe_of_mmdets_or_of_none_is_refused_with_a_reason(resolved, settings, tmp_path):
    with pytest.raises(UserError, match="mmdet/mask_rcnn_fpn_coco.py|mask_rcnn_fpn_coco.py has no") as error:
        resolved(replace(settings, recipe=FOLDER / "mmdet/mask_rcnn_fpn_coco.py"))
    assert "\n" not in str(error.value)
    (tmp_path / "broken.py").write_text("raise ValueError")
    with pytest.raises(UserError, match="broken.py is no LazyConfig: ValueError"):
        resolved(replace(settings, recipe=tmp_path / "broken.py"))


def test_a_missing_recipe_is_named(resolved, settings, tmp_path):
    with pytest.raises(UserError, match="no such recipe: .*nothing.py"):
        resolved(replace(settings, recipe=tmp_path / "nothing.py"))
