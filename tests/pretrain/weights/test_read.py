"""Weights from anywhere are read without running code, whatever their program wrapped them in."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pretrain.common.errors import UserError
from pretrain.weights.read import read_tensors

CONV = torch.ones(2, 3, 1, 1)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"conv1.weight": CONV}, "conv1.weight"),
        ({"state_dict": {"module.conv1.weight": CONV}, "epoch": 3}, "state_dict.module.conv1.weight"),
        ({"classy_state_dict": {"base_model": {"model": {"trunk": {"conv1.weight": CONV}}}}},
         "classy_state_dict.base_model.model.trunk.conv1.weight"),
        ({"teacher": {"conv1.weight": CONV}, "args": Namespace(arch="vit_small")}, "teacher.conv1.weight"),
        ({"conv1.weight": torch.nn.Parameter(CONV)}, "conv1.weight"),
    ],
)  # fmt: skip
def test_dictionaries_within_dictionaries_are_dotted_names(tmp_path, content, name):
    torch.save(content, tmp_path / "w.pth")
    tensors, record = read_tensors(tmp_path / "w.pth")
    assert list(tensors) == [name] and torch.equal(tensors[name], CONV) and record == {}
    assert not tensors[name].requires_grad


def test_safetensors_are_read_with_what_convert_recorded(tmp_path):
    save_file({"conv1.weight": CONV}, tmp_path / "w.safetensors", {"pretraining": '{"mean": [0.5]}'})
    tensors, record = read_tensors(tmp_path / "w.safetensors")
    assert torch.equal(tensors["conv1.weight"], CONV) and record == {"mean": [0.5]}


class Code:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_code_in_a_file_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"conv1.weight": CONV}, "code": Code()}, "w.pth")
    with pytest.raises(
        UserError, match="as weights: it holds an object of .*, which is code and not run; exp"
    ) as error:
        read_tensors(Path("w.pth"))
    assert not Path("executed").exists() and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, CONV, [CONV], {"a": {"b": "c"}}])
def test_what_holds_no_tensors_by_name_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match="w.pth holds no state dict"):
        read_tensors(tmp_path / "w.pth")


def test_files_that_are_none_are_refused(tmp_path):
    for name, reason in (("a.pth", "it is no file of torch.save|pop from"), ("a.safetensors", "header")):
        with pytest.raises(UserError, match=f"no such file: .*{name}; expected weights, .pth or .safetensors"):
            read_tensors(tmp_path / name)
        (tmp_path / name).write_bytes(b"an image, say")
        with pytest.raises(
            UserError, match=f"{name} cannot be read as weights: .*({reason}).*; expected .pth"
        ) as error:
            read_tensors(tmp_path / name)
        assert "\n" not in str(error.value)
