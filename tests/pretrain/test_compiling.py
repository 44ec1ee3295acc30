"""training.compile: a bounded number of graphs, which compute what the network computes."""

import pytest
import torch
import torch._dynamo

from pretrain.backbones import create_backbone
from pretrain.compiling import compile_backbones
from pretrain.errors import UserError
from pretrain.objectives.us3l import US3LSettings
from tests.pretrain.helpers import tiny_config


def model():
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", base_channels=8)
    return US3LSettings(hidden=16, outputs=8).build(backbone, 1, 1.0, 10)


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
    with pytest.raises(UserError, match=r"sampling.grid is -1; expected a number above 0"):
        tiny_config(sampling={"grid": -1})
