"""Channels can be put into another order all at once: width 1 computes the same, narrow widths get what matters."""

import pytest
import torch

from pretrain import UserError
from pretrain.backbones import create_backbone
from pretrain.slimmable.calibrate import batch_norms
from pretrain.slimmable.groups import ChannelGroup, Slot, module_slots, reordered
from pretrain.slimmable.importance import CRITERIA, sort_channels
from pretrain.slimmable.norms.statistics import BatchStatistics, FixedStatistics
from tests.pretrain.networks import TINY, every_network

CONVOLUTIONS = {case: (name, options) for case, (name, options) in TINY.items() if "stem" in options}


def images(count: int = 4, size: int = 32) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def uneven(name, options):
    """A network whose channels matter to different degrees."""
    torch.manual_seed(0)
    backbone = create_backbone(name, **options)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.mul_(1 + 0.2 * torch.randn(parameter.shape[:1] + (1,) * (parameter.dim() - 1)))
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return backbone


def features(backbone, x, width=1.0):
    return backbone(x, width, BatchStatistics()).detach()


def in_fp32(backbone, x):
    """As in eval mode, so that rounding is not divided by the deviation of four pixels."""
    backbone.float()
    neutral = {
        norm: (torch.zeros_like(norm.bias), torch.ones_like(norm.bias)) for norm in batch_norms(backbone).values()
    }
    return backbone(x, 1.0, FixedStatistics(neutral)).detach()


@every_network
@pytest.mark.parametrize("criterion", CRITERIA)
def test_sorted_channels_are_the_same_function_at_width_1(name, options, criterion):
    backbone, x = uneven(name, options), images()
    if criterion == "bn" and not batch_norms(backbone):
        with pytest.raises(UserError, match="there is no batch norm to sort channels by; expected l1 or activation"):
            sort_channels(backbone, criterion)
        return
    exact, narrow = (features(backbone.double(), x.double(), width) for width in (1.0, 0.25))
    before = in_fp32(backbone, x)
    orders = sort_channels(backbone, criterion, [x])
    groups = backbone.groups()
    moved = [not torch.equal(order, torch.arange(group.size)) for group, order in zip(groups, orders, strict=True)]
    assert sum(moved) > len(moved) / 2
    of_features = torch.arange(before.shape[1]) if name == "mobilenetv2" else orders[-1]
    before = before[:, of_features]
    rounding = 2e-6 if name == "resnet101" else 1e-6
    assert (in_fp32(backbone, x) - before).norm() <= rounding * before.norm()
    backbone, x = backbone.double(), x.double()
    torch.testing.assert_close(features(backbone, x), exact[:, of_features], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(features(backbone, x, 0.25), narrow, atol=1e-3)


@every_network
def test_the_groups_hold_every_channel_that_shrinks(name, options):
    """A dimension of a parameter that is narrower at .25 lies in groups as a whole."""
    backbone = create_backbone(name, **options)
    with torch.device("meta"):
        plain = dict(backbone.plain(backbone.channels(0.25)).named_parameters())
    covered: dict[tuple[str, int], set[int]] = {}
    for group in backbone.groups():
        for name_, dim, start in (*group.writes, *group.reads):
            covered.setdefault((name_, dim), set()).update(range(start, start + group.size))
    for name_, parameter in backbone.named_parameters():
        for dim, (full, narrow) in enumerate(zip(parameter.shape, plain[name_].shape, strict=True)):
            if narrow < full:
                assert covered[name_, dim] == set(range(full)), (name_, dim)


def test_the_scale_of_batch_norms_counts():
    backbone = create_backbone("resnet18", "cifar", base_channels=8)
    with torch.no_grad():
        backbone.layer1[0].bn1.weight.copy_(torch.tensor([0.0, -3.0, 1.0, 2.0, 0.1, 0.2, 0.3, 0.4]))
        first = backbone.layer1[0].conv1.weight.clone()
    sort_channels(backbone, "bn")
    assert backbone.layer1[0].bn1.weight.tolist() == pytest.approx([-3.0, 2.0, 1.0, 0.4, 0.3, 0.2, 0.1, 0.0])
    order = [1, 3, 2, 7, 6, 5, 4, 0]
    stream = backbone.layer1[0].conv1.weight  # its inputs are of another group, whose scales are all alike
    assert torch.equal(stream, first[order])


def test_the_weights_that_read_a_channel_count_and_its_magnitude():
    backbone = create_backbone("resnet18", "cifar", base_channels=8)
    with torch.no_grad():
        backbone.layer1[0].conv2.weight.fill_(0.01)
        backbone.layer1[0].conv2.weight[:, 5] = -2
        backbone.layer1[0].conv2.weight[:, 3] = 1
        backbone.layer1[0].bn1.weight.fill_(1)
        backbone.layer1[0].bn1.weight[3] = 9
    orders = dict(zip([group.writes[0].name for group in backbone.groups()], sort_channels(backbone, "l1")))
    assert orders["layer1.0.conv1.weight"][:2].tolist() == [5, 3]
    sort_channels(backbone, "activation", [images()])
    assert backbone.layer1[0].bn1.weight[0] == 9


def test_blocks_of_channels_stay_together():
    group = ChannelGroup(6, (Slot("a"),), block=2)
    order = group.order(torch.tensor([1.0, 0, 9, 0, 0, 2]))
    assert order.tolist() == [2, 3, 4, 5, 0, 1]
    state = reordered({"a": torch.arange(6), "b": torch.arange(3)}, [group], [order])
    assert state["a"].tolist() == order.tolist() and state["b"].tolist() == [0, 1, 2]
    assert module_slots("m", 4) == (Slot("m.weight", 0, 4), Slot("m.bias", 0, 4))


def test_equal_channels_keep_their_order_and_no_images_are_an_error():
    assert ChannelGroup(3, ()).order(torch.ones(3)).tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="at least one batch of images, got none"):
        sort_channels(create_backbone("resnet18", "cifar", base_channels=8), "activation", [])


@pytest.mark.parametrize(("name", "options"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_channels_that_do_nothing_go_last(name, options, criterion):
    """Half of every group is dead, and comes first; sorted, half of the width computes what all of it did."""
    backbone, x = uneven(name, options).double(), images().double()
    with torch.no_grad():
        parameters = dict(backbone.named_parameters())
        for group in backbone.groups():
            for slot in (*group.writes, *group.reads):
                parameters[slot.name].narrow(slot.dim, slot.start, group.size // 2).zero_()
    whole = features(backbone, x)
    orders = sort_channels(backbone.float(), criterion, [x.float()])
    half = features(backbone.double(), x, 0.5)
    live = whole if name == "mobilenetv2" else whole[:, orders[-1][: half.shape[1]]]
    torch.testing.assert_close(half, live, rtol=1e-5, atol=1e-5)
