"""Number formats, memory formats and compiled graphs: which is chosen, and that none changes what is computed."""

import pytest
import torch
import torch._dynamo

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.data.facts import ImageFacts
from pretrain.objectives.us3l import US3LSettings
from pretrain.run.device import compile_backbones, lay_out, resolve_precision
from tests.pretrain.helpers import tiny_config

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("asked", ["fp32", "bf16", "fp16"])
def test_a_format_that_is_asked_for_is_used(asked):
    assert resolve_precision(asked, CPU) == asked


@pytest.mark.parametrize(
    ("avx512_bf16", "amx", "expected"), [(False, False, "fp32"), (True, False, "bf16"), (False, True, "bf16")]
)
def test_cpus_that_compute_in_bf16_use_it(monkeypatch, avx512_bf16, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert resolve_precision("auto", CPU) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_gpus_that_compute_in_bf16_use_it(monkeypatch, native, expected):
    """Those that only emulate it do not count."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert resolve_precision("auto", CUDA) == expected


def test_formats_change_no_figure():
    torch.manual_seed(0)
    plain = create_backbone("resnet18", base_channels=8).double()
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    expected = plain(x, 0.5)
    expected.square().sum().backward()
    gradients = {name: p.grad for name, p in plain.named_parameters()}
    for precision in ("fp32", "bf16"):
        plain.zero_grad()
        laid_out = lay_out(plain, torch.device("cpu"), precision)
        found = laid_out(x.contiguous(memory_format=torch.channels_last), 0.5)
        found.square().sum().backward()
        torch.testing.assert_close(found, expected)
        for name, p in laid_out.named_parameters():
            torch.testing.assert_close(p.grad, gradients[name], msg=name)


def test_only_the_last_stage_of_basic_blocks_in_fp32_is_nchw():
    def last(name: str, precision: str) -> list[bool]:
        model = lay_out(create_backbone(name, base_channels=8), torch.device("cpu"), precision)
        weights = (model.layer3[1].conv2.weight, model.layer4[1].conv2.weight)
        return [weight.is_contiguous(memory_format=torch.channels_last) for weight in weights]

    assert last("resnet18", "fp32") == last("resnet34", "fp32") == [True, False]
    assert last("resnet18", "bf16") == last("resnet50", "fp32") == [True, True]


def model():
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", base_channels=8)
    return US3LSettings(hidden=16, outputs=8).build(backbone, 1, 1.0, ImageFacts())


@pytest.fixture(autouse=True)
def no_graphs():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def test_each_width_is_a_graph_that_is_compiled_once():
    widths, compiled, eager = [1.0, 0.75, 0.5], model(), model()
    compile_backbones(compiled, sub_networks=3, backend="eager")
    x = torch.randn(4, 3, 32, 32)
    for _ in range(2):
        for width in widths:
            torch.testing.assert_close(compiled.backbone(x, width), eager.backbone(x, width))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3
    assert not torch._dynamo.utils.counters["graph_break"]


def test_weights_keep_their_names():
    compiled = model()
    compile_backbones(compiled, sub_networks=3, backend="eager")
    assert compiled.state_dict().keys() == model().state_dict().keys()


def test_too_many_sub_networks_are_refused_with_a_remedy():
    with pytest.raises(UserError, match="each of 90 sub-networks; expected at most 32, e.g. by sampling.grid"):
        compile_backbones(model(), sub_networks=90)


def test_a_grid_below_zero_is_refused():
    with pytest.raises(UserError, match=r"sampling.grid is -1; expected a number from 0.001"):
        tiny_config(sampling={"grid": -1})
