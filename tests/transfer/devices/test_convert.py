"""OpenVINO, ExecuTorch and ncnn: what the runtime computes from the file is what the plain backbone computes."""

import importlib
import json
from functools import cache

import pytest
import torch

from pretrain.common.errors import UserError
from tests.pretrain.helpers import universal
from tests.requirements import requires
from transfer.convert import FORMATS, convert, of_width
from transfer.convert.export import TOLERANCE, check, difference
from transfer.runtimes import RUNTIMES

pytestmark = requires("devices")
FILES = {
    "openvino": ["resnet18.xml", "resnet18.bin"],
    "executorch": ["resnet18.pte", "resnet18.json"],
    "ncnn": ["resnet18.ncnn.param", "resnet18.ncnn.bin", "resnet18.json"],
}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return universal(base_channels=8, widths=(0.5,))


@pytest.fixture(scope="module")
def written(net, tmp_path_factory):
    """The files of a format, written once: ExecuTorch takes half a minute of a processor."""
    return cache(lambda form: convert(net.extract(0.5), form, tmp_path_factory.mktemp(form), of_width(net, 0.5)))


@torch.no_grad()
@pytest.mark.parametrize("form", FILES)
def test_the_runtime_computes_the_features_at_any_batch_size_and_another_networks_leave_no_file(
    form, net, written, tmp_path, monkeypatch
):
    plain, paths = net.extract(0.5), written(form)
    assert [path.name for path in paths] == FILES[form]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(FILES[form])
    said = json.loads(paths[-1].read_text()) if form != "openvino" else described_in(paths[0])
    assert (said["checkpoint"], said["width"], said["image_size"]) == (net.hash, 0.5, 32)

    content = paths[0].read_bytes()
    run = importlib.import_module(f"transfer.runtimes.{form}").load(paths[0], 1)
    photographs = torch.randn(2, 32, 32, 3).numpy().transpose(0, 3, 1, 2)  # as numpy has them: not in one piece
    assert difference(torch.from_numpy(run(photographs)), plain(torch.from_numpy(photographs))) <= TOLERANCE
    first = run(torch.ones(2, 3, 32, 32).numpy())
    kept = first.copy()
    for batch in (1, 5):
        images = torch.randn(batch, 3, 32, 32)
        assert difference(torch.from_numpy(run(images.numpy())), plain(images)) <= TOLERANCE
    assert (first == kept).all()  # the memory of an answer is not that of the next

    other = net.extract(0.5)
    other.conv1.weight.mul_(1.5)
    with pytest.raises(RuntimeError, match="differ by"):
        check(other, run, 32, form)
    module = importlib.import_module(f"transfer.convert.{form}")
    monkeypatch.setattr(module, "load", lambda path: lambda images: 2 * run(images))
    if form == "executorch":  # whose export takes longest: its file again
        monkeypatch.setattr(module, "export", lambda plain, computes, path, size: path.write_bytes(content))
    with pytest.raises(RuntimeError, match="differ by"):
        convert(plain, form, tmp_path / "other", of_width(net, 0.5))
    assert list((tmp_path / "other").iterdir()) == []


def described_in(path) -> dict:
    import openvino

    return json.loads(openvino.Core().read_model(path).get_rt_info(["pretraining"]).astype(str))


def test_an_operator_that_a_runtime_lacks_is_one_line_and_nothing_is_written(net, tmp_path):
    class Odd(torch.nn.Module):
        name = "odd"

        def forward(self, x):
            return torch.linalg.svdvals(x.mean(1))

    with pytest.raises(UserError, match="OpenVINO cannot say Odd") as error:
        convert(Odd(), "openvino", tmp_path / "out", of_width(net, 0.5))
    assert "\n" not in str(error.value) and list((tmp_path / "out").iterdir()) == []


def test_operators_that_pnnx_leaves_to_nobody_are_named(tmp_path):
    net = universal("convnextv2_atto", widths=())
    with pytest.raises(UserError, match=r"ncnn cannot say PlainConvNeXt: it has no aten::addcmul, pnnx\.Expr") as error:
        convert(net.extract(0.25), "ncnn", tmp_path / "out", of_width(net, 0.25))
    assert "\n" not in str(error.value) and list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("form", FILES)
def test_a_runtime_that_is_not_installed_is_one_line_with_the_extra(form, net, tmp_path, monkeypatch):
    monkeypatch.setattr("transfer.convert.find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"{form} needs {form}.*pip install '\.\[devices\]'"):
        convert(net.extract(0.5), form, tmp_path / "out", of_width(net, 0.5))
    assert not (tmp_path / "out").exists()


@torch.no_grad()
def test_executorchs_threads_do_not_change_under_a_loaded_program(net, written):
    from transfer.runtimes.executorch import load

    path = written("executorch")[0]
    run = load(path, 1)
    with pytest.raises(RuntimeError, match="cannot change"):
        load(path, 2)
    images = torch.randn(2 * run.part + 1, 3, 32, 32)  # more than its memory is planned for
    expected = run(images.numpy())
    assert difference(torch.from_numpy(expected), net.extract(0.5)(images)) <= TOLERANCE
    del run
    torch.testing.assert_close(load(path, 2)(images.numpy()), expected)


def test_every_runtime_reads_a_format_that_is_written():
    assert set(RUNTIMES.values()) <= set(FORMATS)
