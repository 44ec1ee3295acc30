"""MoCo v3's loss by its definition in float64, and which keys and predictors the widths use."""

import pytest
import torch

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.common.settings import read
from pretrain.objectives.mocov3 import MoCoV3, MoCoV3Settings, contrast
from pretrain.objectives.step import Batch
from pretrain.slimmable.norms.statistics import BatchStatistics
from tests.pretrain.processes import run_processes

WIDTHS = [1.0, 0.25, 0.6]


def model(**options) -> MoCoV3:
    torch.manual_seed(0)
    backbone = create_backbone("vit_tiny", image_size=32, patch_size=8, depth=1)
    net = MoCoV3(backbone, MoCoV3Settings(hidden=16, outputs=8, **options)).double()
    with torch.no_grad():  # a momentum encoder that differs from the network, as in training
        for parameter in net.momentum_encoder.parameters():
            parameter.mul_(1.1)
    return net


def batch(count: int = 4) -> Batch:
    x = torch.randn(2, count, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch((x[0], x[1]), torch.zeros(count))


def by_definition(q: torch.Tensor, k: torch.Tensor, temperature: float) -> torch.Tensor:
    """A loop over queries: -log of the softmax of cosines / tau at the own image, times 2 tau."""
    losses = []
    for i, query in enumerate(q):
        cosines = torch.stack([query @ key / (query.norm() * key.norm()) for key in k])
        losses.append(-torch.log(torch.exp(cosines[i] / temperature) / torch.exp(cosines / temperature).sum()))
    return 2 * temperature * torch.stack(losses).mean()


def test_the_loss_is_that_of_algorithm_1():
    q, k = torch.randn(2, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(contrast(q, k, 0.2), by_definition(q, k, 0.2))


def both_orders(net: MoCoV3, width: float, predictor: torch.nn.Module, key_width: float) -> torch.Tensor:
    """Each view its own forward."""

    def one(x, features, *then):
        z = features(x, width, BatchStatistics())
        for head in then:
            z = head(z, BatchStatistics())
        return z

    queries = [one(x, net.backbone, net.projector, predictor) for x in batch().views]
    keys = [net.momentum_encoder(x, key_width, BatchStatistics()) for x in batch().views]
    return by_definition(queries[0], keys[1], 0.2) + by_definition(queries[1], keys[0], 0.2)


def test_us_mocov3_shares_the_predictor_and_compares_with_keys_of_the_own_width():
    net = model(keys="own")
    expected = [both_orders(net, width, net.predictor, width) for width in WIDTHS]
    terms = net(batch(), WIDTHS).terms
    assert [(t.name, t.width) for t in terms] == [("base", 1.0), ("distill", 0.25), ("distill", 0.6)]
    torch.testing.assert_close([t.value for t in terms], expected)


def test_the_released_us_mocov3_shares_the_predictor_and_the_base_networks_keys():
    net = model(keys="shared")
    expected = [both_orders(net, width, net.predictor, 1.0) for width in WIDTHS]
    torch.testing.assert_close([t.value for t in net(batch(), WIDTHS).terms], expected)
    assert net.sub_predictor is None


def test_the_predictor_of_sub_networks_starts_as_a_copy_of_h_and_is_its_own():
    net = model(keys="base")
    torch.testing.assert_close(net.sub_predictor.state_dict(), net.predictor.state_dict(), rtol=0, atol=0)
    net(batch(), WIDTHS).terms[1].value.backward()
    assert net.sub_predictor.linears[0].weight.grad.any() and net.predictor.linears[0].weight.grad is None


def test_us3l_gives_sub_networks_a_predictor_of_their_own_and_the_base_networks_keys():
    net = model(keys="base")
    predictors = [net.predictor, net.sub_predictor, net.sub_predictor]
    expected = [both_orders(net, width, h, 1.0) for width, h in zip(WIDTHS, predictors, strict=True)]
    torch.testing.assert_close([t.value for t in net(batch(), WIDTHS).terms], expected)


@pytest.mark.parametrize("keys", ["own", "shared", "base"])
@pytest.mark.parametrize("widths", [[1.0], WIDTHS])
def test_taken_apart_it_gives_the_same_and_every_parameter_a_gradient(keys, widths):
    whole, apart = model(keys=keys), model(keys=keys)
    terms = whole(batch(), widths).terms
    sum(t.value for t in terms).backward()
    targets = None
    for width, expected in zip(widths, terms, strict=True):
        (term,), targets = apart(batch(), [width], targets)
        torch.testing.assert_close(term.value, expected.value)
        term.value.backward()
        assert all(p.grad is not None for p in apart.parameters() if p.requires_grad)
    for a, b in zip(apart.parameters(), whole.parameters(), strict=True):
        if a.requires_grad:
            torch.testing.assert_close(a.grad, b.grad)


def test_heads_have_no_biases_and_end_in_a_norm_without_affine_parameters():
    net = model()
    for head, layers in ((net.projector, 3), (net.predictor, 2)):
        assert len(head.linears) == layers and all(linear.bias is None for linear in head.linears)
        assert head.final_norm is not None and head.final_norm.weight is None


def test_the_momentum_coefficient_rises_to_1():
    net = model(momentum=0.9, momentum_end=1.0)
    before = [p.clone() for p in net.momentum_encoder.parameters()]
    net.update_momentum(1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, net.momentum_encoder.parameters(), strict=True))
    net.update_momentum(0.5)
    online = [*net.backbone.parameters(), *net.projector.parameters()]
    for old, now, source in zip(before, net.momentum_encoder.parameters(), online, strict=True):
        torch.testing.assert_close(now, 0.95 * old + 0.05 * source)


def contrasted(rank: int) -> torch.Tensor:
    q, k = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    part = slice(3 * rank, 3 * rank + 3)
    return contrast(q[part], k[part], 0.2)


def test_negatives_come_from_all_processes():
    q, k = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = torch.stack(run_processes(contrasted, 2))
    torch.testing.assert_close(parts.mean(), by_definition(q, k, 0.2))


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"momentum": 2.0}])
def test_values_that_make_no_sense_are_refused(options):
    with pytest.raises(UserError, match="temperature is 0|momentum is 2"):
        read(MoCoV3Settings, options)
