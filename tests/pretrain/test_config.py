"""Configs: inheritance and overrides reach the dataclasses; what doesn't fit is named."""

import dataclasses
import json

import pytest

from pretrain.common.errors import UserError
from pretrain.config import LINEAR_EVALUATION, differences, load_config
from tests.pretrain.helpers import tiny_config

NAMES = ["us3l_resnet18_digits", "us3l_resnet18_cifar10", "us3l_resnet18_cifar100", "us3l_resnet50_imagenet"]


@pytest.mark.parametrize("name", NAMES)
def test_the_named_configs_are_the_whole_method(repository, name):
    config = load_config(repository / f"configs/pretrain/{name}.py", [])
    assert config.method == "us3l"
    objective = config.objective
    assert (objective.base, objective.distill, objective.aux_head) == ("infonce", "mse", True)
    assert objective.momentum_base and objective.momentum_sub and objective.momentum == 0.99
    assert config.sampling.dynamic and config.sampling.sandwich
    assert (config.optimizer.groups, config.optimizer.alpha, config.optimizer.weight_decay) == (8, 0.05, 1e-4)
    assert {1.0, 0.75, 0.5, 0.25} <= set(config.calibrated_widths)


def test_configs_inherit(repository):
    ten, hundred = (
        load_config(repository / f"configs/pretrain/us3l_resnet18_{n}.py", []) for n in ("cifar10", "cifar100")
    )
    assert differences(ten.as_dict(), hundred.as_dict()) == ["data.name"]
    assert (ten.optimizer.lr, ten.training.batch_size, ten.training.chunks, ten.training.epochs) == (0.5, 512, 4, 400)


def test_overrides(repository):
    overrides = ["training.epochs=3", "data.root=/some/where", "data.views.flip=0", "calibration.widths=[1,0.5]"]
    config = load_config(repository / "configs/pretrain/us3l_resnet18_cifar10.py", overrides)
    assert config.training.epochs == 3 and config.data.root == "/some/where" and config.data.views.flip == 0.0
    assert config.calibration.widths == (1.0, 0.5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", "unknown config key 'training.epoch'; did you mean 'epochs'"),
        ("optimiser.lr=1", "unknown config key 'optimiser'; did you mean 'optimizer'"),
        ("training.epochs=many", "training.epochs: .*integer.*'many'"),
        ("training.epochs=0", "training.epochs is 0; expected a number from 1"),
        ("objective.base=nce", "objective.base: .*'infonce' or 'mse'.*'nce'"),
        ("objective.temperature=0", "temperature is 0; expected a number above 0"),
        ("calibration.widths=[2.0]", "calibration.widths: 2 is outside the range 0.25 to 1"),
        ("width_range=[0.1,1]", "width_range 0.1 to 1; expected a range within 0.25 to 1"),
        ("sampling.networks=0", "sampling.networks is 0; expected a number from 1"),
        ("training.iterations=-5", "training.iterations is -5; expected a number from 1"),
        ("data.std=[0,0,0]", "data.std is .*; expected three numbers above 0"),
        ("optimizer.lr=-1", "optimizer.lr is -1; expected a number above 0"),
        ("data.views.interpolation=bicubik", "interpolation: .*'bilinear' or 'bicubic'.*'bicubik'"),
        ("training.chunks=300", "a batch of 512 in 300 chunks"),
        ("training.epochs", "is no override; expected key=value"),
        ("training=3", "'training' takes keys of its own"),
    ],
)
def test_settings_that_do_not_fit_are_named(repository, override, message):
    with pytest.raises(UserError, match=message):
        load_config(repository / "configs/pretrain/us3l_resnet18_cifar10.py", [override])


def test_calibration_views_given_in_part_keep_linear_evaluations_rest(repository):
    config = load_config(repository / "configs/pretrain/us3l_resnet18_cifar10.py", ["calibration.views.flip=0.0"])
    assert config.calibration.views == dataclasses.replace(LINEAR_EVALUATION, flip=0.0)
    large = load_config(repository / "configs/pretrain/us3l_resnet50_imagenet.py", []).calibration.views
    assert (large.crop_scale, large.interpolation, large.jitter_p) == ((0.08, 1.0), "bicubic", 0.0)


def test_a_backbones_defaults_are_filled_in_and_options_of_others_left_out():
    """So configs and checkpoints of before other backbones existed stay what they are."""
    assert tiny_config().as_dict()["backbone"] == {"name": "resnet18", "stem": "imagenet", "base_channels": 8}
    vit = tiny_config(backbone={"name": "vit_tiny", "base_channels": None}, data={"image_size": 64})
    assert vit.as_dict()["backbone"] == {
        "name": "vit_tiny", "image_size": 64, "patch_size": 16, "depth": 12, "slim": "embedding"
    }  # fmt: skip
    assert str(vit.backbone) == "vit_tiny (image_size 64, patch_size 16, depth 12, slim embedding)"


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"name": "vit_tiny"}, "vit_tiny has no option 'base_channels'"),
        ({"name": "mobilnetv2"}, "unknown backbone 'mobilnetv2'; did you mean 'mobilenetv2'"),
        ({"patch_size": 4}, "resnet18 has no option 'patch_size'"),
        ({"patchsize": 4}, "unknown config key 'backbone.patchsize'; did you mean 'patch_size'"),
        ({"name": "vit_tiny", "base_channels": None, "image_size": 64}, "image_size is 64, but data.image_size is 32"),
    ],
)
def test_options_that_a_backbone_does_not_have_are_named(backbone, message):
    with pytest.raises(UserError, match=message):
        tiny_config(backbone=backbone)


def test_a_file_that_is_no_config_is_refused(repository):
    with pytest.raises(UserError, match=r"README.md is no valid config"):
        load_config(repository / "README.md", [])


def test_a_missing_config_names_the_nearest(repository):
    with pytest.raises(UserError, match="no such config: .*; did you mean 'us3l_resnet18_cifar10'"):
        load_config(repository / "configs/pretrain/us3l_resnet18_cifar1.py", [])


def test_the_hash_is_that_of_what_determines_the_result():
    base = tiny_config()
    assert base.hash == tiny_config(data={"workers": 2, "root": "/elsewhere"}, training={"threads": 2}).hash
    assert base.hash != tiny_config(training={"seed": 1}).hash
    assert json.dumps(base.as_dict())
