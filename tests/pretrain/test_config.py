"""Configs: inheritance and overrides reach the dataclasses; what doesn't fit is named."""

import copy
import dataclasses
import json

import pytest

from pretrain.common.errors import UserError
from pretrain.common.overrides import apply
from pretrain.config import differences, load_config, validate
from pretrain.configfile import read_config
from pretrain.sections import LINEAR_EVALUATION
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
        ("objective.base=nce", "objective.base: unknown 'nce'; did you mean 'infonce'"),
        ("objective.temperature=0", "objective.temperature is 0; expected a number above 0"),
        ("calibration.widths=[2.0]", "calibration.widths: 2 is outside the range 0.25 to 1"),
        ("width_range=[0.1,1]", "width_range 0.1 to 1; expected a range within 0.25 to 1"),
        ("sampling.networks=0", "sampling.networks is 0; expected a number from 1"),
        ("training.iterations=-5", "training.iterations is -5; expected a number from 1"),
        ("data.std=[0,0,0]", "data.std.0 is 0; expected a number above 0"),
        ("optimizer.lr=-1", "optimizer.lr is -1; expected a number above 0"),
        ("data.views.interpolation=bicubik", "interpolation: unknown 'bicubik'; did you mean 'bicubic'"),
        ("training.chunks=300", "a batch of 512 in 300 chunks"),
        ("training.epochs", "is no override; expected key=value"),
        ("training=3", "'training' takes keys of its own"),
    ],
)
def test_settings_that_do_not_fit_are_named(repository, override, message):
    with pytest.raises(UserError, match=message):
        load_config(repository / "configs/pretrain/us3l_resnet18_cifar10.py", [override])


# every number of a config, and what is none: NaN, infinities, negative counts, shares beyond 1
NONSENSE = [
    "training.threads=-1", "training.threads=0", "training.threads=1000000", "training.seed=-1", "training.seed=1e400",
    "training.epochs=-1", "training.epochs=nan", "training.epochs=inf", "training.epochs=1e400",
    "training.batch_size=0", "training.chunks=0", "training.chunks=-2", "training.log_interval=0",
    "training.checkpoint_interval=-1", "training.iterations=0",
    "objective.outputs=-1", "objective.outputs=0", "objective.hidden=0", "objective.hidden=nan",
    "objective.temperature=inf", "objective.temperature=-1", "objective.temperature=nan", "objective.momentum=1.5",
    "objective.momentum=nan", "objective.momentum_end=-0.1",
    "data.workers=-1", "data.workers=nan", "data.images_per_class=0", "data.images_per_class=-1", "data.image_size=0",
    "data.mean=[nan,0,0]", "data.std=[1,inf,1]", "data.std=[1,1,-1]",
    "data.views.flip=nan", "data.views.flip=1.1", "data.views.crop_scale=(5,9)", "data.views.crop_scale=(0,1)",
    "data.views.crop_scale=(0.9,0.1)", "data.views.crop_ratio=(2,1)", "data.views.crop_ratio=(0,1)",
    "data.views.rotation=inf", "data.views.rotation=-1", "data.views.jitter=(0,0,0,0.6)",
    "data.views.jitter=(-1,0,0,0)", "data.views.jitter_p=2", "data.views.grayscale=-1", "data.views.blur=nan",
    "data.views.blur_sigma=(0,1)", "data.views.solarize=inf", "calibration.views.flip=nan",
    "optimizer.weight_decay=nan", "optimizer.weight_decay=-1", "optimizer.lr=nan", "optimizer.lr=inf",
    "optimizer.lr=0", "optimizer.lr_batch=0", "optimizer.momentum=1", "optimizer.momentum=nan",
    "optimizer.warmup_epochs=nan", "optimizer.warmup_epochs=-1", "optimizer.groups=0", "optimizer.alpha=nan",
    "optimizer.alpha_ramp=(nan,1)", "optimizer.alpha_ramp=(0.5,0.2)",
    "sampling.grid=1e308", "sampling.grid=1e-9", "sampling.grid=0", "sampling.networks=-1", "sampling.widths=[nan]",
    "width_range=(nan,1)", "width_range=(0.25,inf)", "calibration.widths=[nan]", "calibration.batches=0",
    "calibration.batch_size=0", "backbone.base_channels=0", "backbone.base_channels=-8",
    "monitor.min_spread=nan", "monitor.min_rank=-1", "monitor.patience=0", "monitor.knn_interval=0",
    "monitor.knn_images=0", "monitor.widths=[nan]", "monitor.widths=[]", "calibration.widths=[]",
    "calibration.widths=[0.5,0.5]", "calibration.batch_size=1", "sampling.widths=[]", "sampling.widths=[1,1]",
    "backbone.base_channels=1000000000", "backbone.depth=1000000000", "backbone.image_size=1000000000",
    "backbone.private_norms=[]", "data.image_size=1000000000", "data.channels=1000000000",
    "objective.hidden=1000000000", "objective.outputs=1000000000", "method=", "method=a\nb",
]  # fmt: skip


@pytest.mark.parametrize("override", NONSENSE)
def test_numbers_that_make_no_sense_are_one_line(repository, override):
    with pytest.raises(UserError) as refused:
        load_config(repository / "configs/pretrain/us3l_resnet18_cifar10.py", [override])
    message = str(refused.value)
    assert "\n" not in message and "error" not in message.lower()
    assert override.partition("=")[0].rpartition(".")[2] in message


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["sampling.widths=[0.5,0.25]"], r"end at 0\.5, so nothing trains 1; expected width_range to end there"),
        (["backbone.private_norms=[1,0.25]"], "any width may be drawn; expected sampling.widths among them"),
        (
            ["backbone.private_norms=[1,0.25]", "sampling.widths=[1,0.25]", "calibration.widths=[1,0.5]"],
            r"calibration\.widths: 0\.5 has no norms of its own",
        ),
        (
            ["backbone.private_norms=[1,0.25]", "sampling.widths=[1,0.25]", "monitor.widths=[0.5]",
             "calibration.widths=[1,0.25]"],
            r"monitor\.widths: 0\.5 has no norms of its own",
        ),
        (
            ["backbone.private_norms=[1,0.25]", "sampling.widths=[1,0.25]", "calibration.widths=[1,0.25]",
             "backbone.base_channels=20"],
            "base_channels 20; expected a multiple of 8",
        ),
    ],
)  # fmt: skip
def test_widths_that_could_not_be_trained_or_calibrated_are_refused_before_the_training(repository, overrides, said):
    config = repository / "configs/pretrain/us3l_resnet18_cifar10.py"
    with pytest.raises(UserError, match=said):
        load_config(config, overrides)
    fine = ["sampling.widths=[1,0.25]", "calibration.widths=[1,0.25]"]
    load_config(config, ["backbone.private_norms=[1,0.25]", *fine])
    load_config(config, ["sampling.widths=[0.5,0.25]", "width_range=(0.25,0.5)", "calibration.widths=[0.5,0.25]"])


def test_the_word_none_is_a_name_where_a_setting_has_one_of_that_name(repository):
    config = repository / "configs/pretrain/us3l_resnet18_cifar10.py"
    without = ["objective.aux_head=false", "objective.momentum_base=false", "objective.momentum_sub=false"]
    assert load_config(config, ["objective.distill=none", *without]).objective.distill == "none"
    teacher = ["objective.name=distillation", "objective.teacher.name=timm:resnet18", "objective.base=none"]
    assert load_config(config, teacher).objective.base == "none"
    assert load_config(config, ["calibration.widths=none"]).calibration.widths is None


def numbers_of(values: dict, prefix: str = "") -> list[str]:
    """Dotted keys of the numbers in nested settings."""
    found = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += numbers_of(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append(f"{prefix}{key}")
    return found


def test_no_number_of_a_config_takes_nan(repository):
    values = read_config(repository / "configs/pretrain/us3l_resnet18_cifar10.py")
    keys = numbers_of(validate(values).as_dict())
    assert len(keys) > 20
    for key in keys:
        for value in ("nan", "-1e999"):
            changed = copy.deepcopy(values)
            apply(changed, [f"{key}={value}"])
            with pytest.raises(UserError):
                validate(changed)


@pytest.mark.parametrize(
    "content",
    [b"raise KeyError", b"1 / 0", b"x = (", b"\xff\xfe = 1", b"import none_such", b"exit(3)", b"_base_ = 'config.py'",
     b"_base_ = 'none.py'", b"assert False"],
)  # fmt: skip
def test_a_file_that_cannot_be_executed_is_one_line(tmp_path, content):
    (tmp_path / "config.py").write_bytes(content)
    with pytest.raises(UserError, match="config.py is no valid config: .+") as refused:
        load_config(tmp_path / "config.py", [])
    assert "\n" not in str(refused.value)


def test_calibration_views_given_in_part_keep_linear_evaluations_rest(repository):
    config = load_config(repository / "configs/pretrain/us3l_resnet18_cifar10.py", ["calibration.views.flip=0.0"])
    assert config.calibration.views == dataclasses.replace(LINEAR_EVALUATION, flip=0.0)
    large = load_config(repository / "configs/pretrain/us3l_resnet50_imagenet.py", []).calibration.views
    assert (large.crop_scale, large.interpolation, large.jitter_p) == ((0.08, 1.0), "bilinear", 0.0)


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
