"""timm: the Python file that is written builds the plain backbone from timm's own classes, without this project."""

import json

import pytest
import torch

from pretrain.common.errors import UserError
from tests.pretrain.helpers import MEAN, universal
from tests.requirements import requires
from tests.transfer.helpers import VIT, images, run_without_us
from transfer.convert import convert, of_width
from transfer.convert.timm import byob_name


@requires("formats")
class TestTimm:
    CODE = (
        "import torch; from {name} import create_model\n"
        "images, expected, maps = torch.load('expected.pt')\n"
        "with torch.no_grad():\n"
        "    model = create_model().eval()\n"
        "    print(type(model).__name__, float((model(images) - expected).abs().max() / expected.abs().max()))\n"
        "    found = create_model(features_only=True).eval()(images)\n"
        "    print(max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found[-4:], maps, strict=True)))\n"
        "    print(create_model(num_classes=7)(images).shape[1], create_model(in_chans=1)(images[:, :1]).shape[1])\n"
        "    import timm; print(timm.data.resolve_model_data_config(model)['mean'])\n"
    )

    @torch.no_grad()
    @pytest.mark.parametrize(
        ("name", "width", "kind"),
        [
            ("resnet18", 1.0, "ResNet"),
            ("resnet18", 0.25, "ByobNet"),
            ("resnet50", 0.9, "ByobNet"),
            ("resnet34", 0.9, "ByobNet"),
            ("resnet101", 0.9, "ByobNet"),
        ],
    )
    def test_timms_own_classes_compute_the_same_features_with_timms_options(
        self, name, width, kind, networks, tmp_path
    ):
        net = networks[name]
        plain = net.extract(width)
        paths = convert(plain, "timm", tmp_path, of_width(net, width))
        assert [path.name for path in paths] == [f"{name}.py", f"{name}.pth", f"{name}.json"]
        torch.save((images(), plain(images()), plain.stage_maps(images())), tmp_path / "expected.pt")
        model, features, sizes, mean = run_without_us(self.CODE.format(name=name), tmp_path).splitlines()
        assert model.split()[0] == kind
        assert float(model.split()[1]) <= 1e-5 and float(features) <= 1e-5
        assert sizes.split() == ["7", str(plain.channels.outer[-1])]
        assert mean == str(tuple(MEAN))
        assert json.loads(paths[2].read_text())["checkpoint"] == net.hash

    def test_names_are_one_to_one(self, networks):
        for net in networks.values():
            names = list(net.extract(0.25).state_dict())
            assert len({byob_name(n, net.backbone.depth) for n in names}) == len(names)

    def test_a_cifar_stem_is_refused_and_nothing_written(self, small, tmp_path):
        with pytest.raises(UserError, match="no cifar stem"):
            convert(small.extract(0.5), "timm", tmp_path / "out", of_width(small, 0.5))
        assert not (tmp_path / "out").exists()

    def test_a_class_without_a_recipe_is_refused(self, small, tmp_path):
        with pytest.raises(UserError, match="nothing tells timm's names of Linear"):
            convert(torch.nn.Linear(2, 2), "timm", tmp_path, of_width(small, 0.5))


@requires("formats")
@torch.no_grad()
def test_timm_builds_a_vision_transformer_of_any_width(tmp_path):
    net = universal("vit_tiny", widths=(0.5,), **VIT)
    plain = net.extract(0.5)
    convert(plain, "timm", tmp_path, of_width(net, 0.5))
    torch.save((images(32), plain(images(32))), tmp_path / "expected.pt")
    code = (
        "import torch; from vit_tiny import create_model; images, expected = torch.load('expected.pt')\n"
        "with torch.no_grad(): print(float((create_model().eval()(images) - expected).abs().max()))\n"
        "print(create_model(num_classes=7)(images).shape[1])"
    )
    difference, classes = run_without_us(code, tmp_path).split()
    assert float(difference) <= 1e-5 and classes == "7"


@requires("formats")
@torch.no_grad()
@pytest.mark.parametrize("width", [1.0, 0.25, "mobilenetv2-16.8.24.16.48.96.96.160"])
def test_timm_builds_a_mobilenet_of_any_width_and_plan_without_the_shortcuts_that_it_would_add(width, tmp_path):
    torch.manual_seed(0)
    net = universal("mobilenetv2", widths=(1.0,))
    width = net.width(width)
    net.calibrate([images(64, 4)], width)
    plain = net.extract(width)
    convert(plain, "timm", tmp_path, of_width(net, width))
    torch.save((images(64, 4), plain(images(64, 4)), plain.stage_maps(images(64, 4))), tmp_path / "expected.pt")
    said = run_without_us(
        "import torch; from mobilenetv2 import create_model\n"
        "x, features, maps = torch.load('expected.pt')\n"
        "model = create_model().eval()\n"
        "found = create_model(features_only=True).eval()(x)\n"
        "with torch.no_grad(): print(type(model).__name__, (model(x) - features).abs().max().item())\n"
        "print((found[1] - maps[0]).abs().max().item(), len(found), create_model(num_classes=7)(x).shape[1])",
        tmp_path,
    )
    (kind, features), (maps, *sizes) = map(str.split, said.splitlines())
    assert kind == "EfficientNet" and float(features) <= 1e-4 and float(maps) <= 1e-4 and sizes == ["5", "7"]


@requires("formats")
@pytest.mark.parametrize(
    ("name", "plan"), [("resnet18", "r18-9.24.50.80"), ("mobilenetv2", "mobilenetv2-17.9.21.16.48.48.120.160")]
)
def test_channels_that_timm_would_round_are_refused(name, plan, tmp_path):
    net = universal(name, widths=(), **({"base_channels": 16} if name == "resnet18" else {}))
    width = net.width(plan)
    net.calibrate([images(64, 4)], width)
    with pytest.raises(UserError, match="timm rounds these layers to multiples of 8"):
        convert(net.extract(width), "timm", tmp_path, of_width(net, width))
    assert list(tmp_path.iterdir()) == []
