"""The network of a file is found by what fits: under any prefix, in any layout of names, and counted."""

from pathlib import Path

import pytest
import torch

from pretrain.common.errors import UserError
from pretrain.weights.fit import fit

SHAPES = {"conv1.weight": (4, 3, 3, 3), "layer1.0.conv1.weight": (4, 4, 3, 3), "bn1.weight": (4,), "bn1.bias": (4,)}
FILE = Path("w.pth")


def tensors(prefix: str = "", **changes) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": torch.randn(shape) for name, shape in {**SHAPES, **changes}.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "state_dict.module.encoder_q.", "a.layer1.0."])
def test_the_prefix_is_the_one_under_which_the_network_lies(prefix):
    given = tensors(prefix) | {"projector.0.weight": torch.zeros(3), "optimizer.0": torch.zeros(2)}
    found = fit(given, SHAPES, FILE)
    assert (found.prefix, found.share, found.missing, found.shapes) == (prefix, 1.0, (), {})
    assert {name: given[prefix + name] for name in SHAPES} == found.state
    assert found.unexpected == (() if prefix else ("projector.0.weight", "optimizer.0"))


def test_two_networks_that_fit_are_asked_for():
    given = tensors("encoder_q.") | tensors("encoder_k.")
    with pytest.raises(
        UserError, match="several networks that fit, under 'encoder_k.' and 'encoder_q.'; expected p of"
    ):
        fit(given, SHAPES, FILE, option="p")
    for prefix in ("encoder_k", "encoder_k."):
        assert fit(given, SHAPES, FILE, prefix).prefix == "encoder_k."
    with pytest.raises(UserError, match="no network under 'encoderk.'; did you mean 'encoder_k.'"):
        fit(given, SHAPES, FILE, "encoderk")


def test_of_two_networks_the_one_that_fits_is_taken():
    wider = {f"teacher.{name}": torch.zeros(8, *shape[1:]) for name, shape in SHAPES.items()}
    assert fit(tensors("student.") | wider, SHAPES, FILE).prefix == "student."


def test_another_layout_of_names_is_translated():
    names = {"conv1.weight": "stem.conv.weight", "bn1.weight": "stem.bn.weight", "bn1.bias": "stem.bn.bias"}
    given = {names.get(name, name): tensor for name, tensor in tensors().items()}
    found = fit({f"net.{name}": tensor for name, tensor in given.items()}, SHAPES, FILE, layouts=({}, names))
    assert found.share == 1 and found.prefix == "net." and found.unexpected == ()
    assert torch.equal(found.state["bn1.bias"], given["stem.bn.bias"])


def test_the_report_counts_and_names():
    given = tensors(**{"bn1.weight": (5,), "fc.weight": (2, 4), "bn1.running_mean": (4,)})
    del given["bn1.bias"]
    found = fit(given, SHAPES, FILE, aside=("running_mean",))
    assert found.share == 1 - 8 / sum(torch.Size(shape).numel() for shape in SHAPES.values())
    assert str(found) == (
        "96.9 % of the parameters, 2 tensors under ''; 1 missing (bn1.bias); "
        "1 of another shape (bn1.weight [5] for [4]); 1 unexpected (fc.weight)"
    )


def test_less_than_nine_tenths_is_an_error_that_says_which_tensors():
    given = tensors(**{"layer1.0.conv1.weight": (4, 4, 1, 1)})
    with pytest.raises(
        UserError, match=r"w.pth does not fit: it has .* \(layer1.0.conv1.weight \[4, 4, 1, 1\] for \["
    ) as error:
        fit(given, SHAPES, FILE)
    assert str(error.value).endswith("; expected 90 %") and "\n" not in str(error.value)
    with pytest.raises(UserError, match="w.pth has no tensor of the network: it has a.b, not conv1.weight"):
        fit({"a.b": torch.zeros(1)}, SHAPES, FILE)
