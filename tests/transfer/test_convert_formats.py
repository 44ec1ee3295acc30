"""torchvision, safetensors and ONNX: each file computes the plain backbone's features."""

import json
import sys

import pytest
import torch
from safetensors import safe_open

from pretrain.common.errors import UserError
from tests.pretrain.helpers import MEAN, STD, universal
from tests.requirements import demand, requires
from tests.transfer.helpers import VIT, images, run_without_us
from transfer.convert import convert, of_width
from transfer.convert import onnx as to_onnx
from transfer.convert.export import check
from transfer.convert.fold import conv_norm_pairs, fold_batch_norms
from transfer.convert.load import load_plain
from transfer.runtimes import onnxruntime


def assert_same(found, expected, tolerance=1e-5):
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


@torch.no_grad()
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvisions_own_class_loads_the_full_width_strictly_as_its_json_says(name, fold, networks, tmp_path):
    net = networks[name]
    plain = net.extract(1.0)
    path, beside = convert(plain, "torchvision", tmp_path, of_width(net, 1.0), fold)
    record = json.loads(beside.read_text())
    assert path.name in record["load"] and "strict=False" not in record["load"]
    torch.save((images(), plain(images())), tmp_path / "expected.pt")
    check = (
        "model.eval(); images, expected = torch.load('expected.pt')\n"
        "with torch.no_grad(): print(float((model(images) - expected).abs().max() / expected.abs().max()))"
    )
    difference = float(run_without_us(f"{record['load']}\n{check}", tmp_path))
    assert difference <= 1e-4 if fold else difference == 0  # this ResNet-50 in float32 is 1.4e-5 from itself in float64


@torch.no_grad()
@pytest.mark.parametrize("target", ["torchvision", "safetensors"])
@pytest.mark.parametrize("fold", [False, True])
def test_a_narrow_width_loads_strictly_into_the_plain_module(target, fold, small, tmp_path):
    plain = small.extract(0.5)
    paths = convert(plain, target, tmp_path, of_width(small, 0.5), fold)
    loaded = load_plain(paths[0])
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in loaded.modules()) != fold
    assert_same(loaded(images(16)), plain(images(16)), 1e-5 if fold else 0)
    if target == "torchvision":
        assert "load_plain" in json.loads(paths[1].read_text())["load"]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("timm", marks=requires("formats")), "torchvision-detection",
        pytest.param("mmdet", marks=requires("detection", "mmdet")),
        pytest.param("detectron2", marks=requires("detection")),
    ],
)  # fmt: skip
def test_code_that_is_written_and_checked_leaves_no_bytecode(form, networks, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    net = networks["resnet18"]
    paths = convert(net.extract(0.9), form, tmp_path, of_width(net, 0.9))
    assert sorted(tmp_path.rglob("*")) == sorted(paths) and not sys.dont_write_bytecode


def test_what_is_written_says_where_it_comes_from(small, tmp_path):
    paths = convert(small.extract(0.5), "safetensors", tmp_path, of_width(small, 0.5))
    with safe_open(paths[0], "pt") as file:
        record = json.loads(file.metadata()["pretraining"])
    beside = convert(small.extract(0.5), "torchvision", tmp_path, of_width(small, 0.5))[1]
    for found in (record, json.loads(beside.read_text())):
        assert (found["width"], found["checkpoint"], found["folded_bn"]) == (0.5, small.hash, False)
        assert found["channels"] == small.extract(0.5).channels.key
        assert (found["mean"], found["std"], found["channel_order"]) == (MEAN, STD, "RGB")
        assert (found["data"]["name"], found["backbone"]["stem"]) == ("digits", "cifar")
    assert record["params"] == small.cost(0.5).params


def test_a_folder_holds_one_format_of_those_that_share_names(small, tmp_path):
    plain, said = small.extract(0.5), of_width(small, 0.5)
    _, beside = convert(plain, "torchvision", tmp_path, said)
    kept = beside.read_bytes()
    with pytest.raises(UserError, match=r"holds files for torchvision \(resnet18\.json\); expected another --output"):
        convert(plain, "torchvision-detection", tmp_path, said)
    assert beside.read_bytes() == kept and len(list(tmp_path.iterdir())) == 2
    convert(plain, "safetensors", tmp_path, said)  # whose names are its own
    assert json.loads(convert(plain, "torchvision", tmp_path, said, True)[1].read_text())["folded_bn"]


def test_the_same_conversion_gives_the_same_bytes(small, tmp_path):
    one, two = (
        convert(small.extract(0.5), "safetensors", tmp_path / name, of_width(small, 0.5))[0] for name in ("a", "b")
    )
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b"x" * 64), "is no converted backbone"),
        (lambda path: path.with_suffix(".json").unlink(), "no resnet18.json beside"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_one_line(change, message, small, tmp_path):
    path = convert(small.extract(0.5), "torchvision", tmp_path, of_width(small, 0.5))[0]
    if "converted" in message:
        path = path.rename(path.with_suffix(".safetensors"))
    change(path)
    with pytest.raises(UserError, match=message) as error:
        load_plain(path)
    assert "\n" not in str(error.value)


class TestFolding:
    @torch.no_grad()
    @pytest.mark.parametrize("name", ["resnet18", "resnet50"])
    def test_every_norm_goes_and_the_function_stays(self, name, networks):
        plain = networks[name].extract(0.25).double()
        norms = [n for n, m in plain.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert sorted(norm for _, norm in conv_norm_pairs(plain)) == sorted(norms)
        folded = fold_batch_norms(plain)
        assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert all(m.bias is not None for m in folded.modules() if isinstance(m, torch.nn.Conv2d))
        assert_same(folded(images().double()), plain(images().double()), 1e-12)

    @torch.no_grad()
    def test_a_folded_convolution_is_the_formula(self, small):
        plain = small.extract(0.5).double()
        conv, norm = plain.conv1, plain.bn1
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        folded = fold_batch_norms(plain).conv1
        torch.testing.assert_close(folded.weight, conv.weight * scale[:, None, None, None])
        torch.testing.assert_close(folded.bias, norm.bias - norm.running_mean * scale)

    def test_the_network_itself_is_left_as_it_was(self, small):
        plain = small.extract(0.5)
        before = {name: value.clone() for name, value in plain.state_dict().items()}
        fold_batch_norms(plain)
        after = plain.state_dict()
        assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)

    def test_a_norm_whose_convolution_is_read_elsewhere_is_not_folded(self):
        class Twice(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.norm = torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)

            def forward(self, x):
                y = self.conv(x)
                return self.norm(y) + y

        with pytest.raises(RuntimeError, match="norm"):
            fold_batch_norms(Twice())

    def test_a_network_without_norms_is_refused(self, tmp_path, small):
        plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1))
        with pytest.raises(UserError, match="no batch norms to fold"):
            convert(plain, "safetensors", tmp_path, of_width(small, 0.5), fold_bn=True)
        assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def exported(small, tmp_path_factory):
    """An ONNX file of 16-px images, its batch norms folded."""
    demand("formats")
    metadata = {**of_width(small, 0.5), "export_size": 16}
    return convert(small.extract(0.5), "onnx", tmp_path_factory.mktemp("onnx"), metadata, fold_bn=True)


class TestONNX:
    @torch.no_grad()
    @pytest.mark.parametrize("batch", [1, 5])
    def test_onnxruntime_computes_the_features_at_any_batch_size(self, batch, exported, small):
        found = onnxruntime.load(exported[0])(images(16, batch).numpy())
        assert_same(torch.from_numpy(found), small.extract(0.5)(images(16, batch)), 1e-4)

    def test_one_file_holds_weights_and_description_and_no_batch_norm(self, exported, small):
        import onnx

        assert [path.name for path in exported[0].parent.iterdir()] == ["resnet18.onnx"]
        model = onnx.load(exported[0], load_external_data=False)
        record = json.loads({p.key: p.value for p in model.metadata_props}["pretraining"])
        assert (record["width"], record["image_size"], record["folded_bn"]) == (0.5, 16, True)
        assert record["checkpoint"] == small.hash
        assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
        batch, *image = model.graph.input[0].type.tensor_type.shape.dim
        assert batch.dim_param and [d.dim_value for d in image] == [3, 16, 16]

    def test_other_features_leave_no_file(self, exported, small, tmp_path, monkeypatch):
        other = small.extract(0.5)
        with torch.no_grad():
            other.conv1.weight.mul_(1.5)
        with pytest.raises(RuntimeError, match="differ by"):
            check(other, onnxruntime.load(exported[0]), 16, "onnxruntime")
        monkeypatch.setattr(to_onnx, "export", lambda plain, path, *rest: path.write_bytes(exported[0].read_bytes()))
        with pytest.raises(RuntimeError, match="differ by"):
            convert(other, "onnx", tmp_path, {**of_width(small, 0.5), "export_size": 16})
        assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(small, tmp_path, monkeypatch):
    monkeypatch.setattr("transfer.convert.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"onnx needs onnx, onnxscript, onnxruntime; expected the extra 'formats'"):
        convert(small.extract(0.5), "onnx", tmp_path / "out", of_width(small, 0.5))
    assert not (tmp_path / "out").exists()


@torch.no_grad()
def test_a_mobilenet_folds_and_loads_again(tmp_path):
    net = universal("mobilenetv2", stem="cifar")
    plain = net.extract(0.5)
    loaded = load_plain(convert(plain, "safetensors", tmp_path, of_width(net, 0.5), fold_bn=True)[0])
    assert_same(loaded(images(32)), plain(images(32)), 1e-4)
    assert not [m for m in loaded.modules() if isinstance(m, torch.nn.BatchNorm2d)]


@requires("formats")
@torch.no_grad()
def test_a_vision_transformer_goes_to_onnx_and_has_nothing_to_fold(tmp_path):
    net = universal("vit_tiny", widths=(0.5,), **VIT)
    plain = net.extract(0.5)
    (path,) = convert(plain, "onnx", tmp_path, of_width(net, 0.5))
    found = onnxruntime.load(path)(images(32, 4).numpy())
    assert_same(torch.from_numpy(found), plain(images(32, 4)), 1e-4)
    with pytest.raises(UserError, match="no batch norms to fold"):
        convert(plain, "safetensors", tmp_path / "folded", of_width(net, 0.5), fold_bn=True)
