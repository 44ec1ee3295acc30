"""The norm of parts that GPUs and groups of processes use, on the CPU: what the plain norms compute, in float64."""

import pytest
import torch

from pretrain.slimmable.norms.affine import AffineChain
from pretrain.slimmable.norms.statistics import BatchStatistics, SynchronisedStatistics
from pretrain.slimmable.ops import SlimBatchNorm
from tests.pretrain.processes import run_processes

WIDTHS = (16, 12, 5)


def norm(affine: bool = True) -> SlimBatchNorm:
    torch.manual_seed(0)
    found = SlimBatchNorm(16, affine=affine).double()
    if affine:
        torch.nn.init.normal_(found.weight)
        torch.nn.init.normal_(found.bias)
    return found


def inputs(shape: tuple[int, ...] = (8, 16, 3, 3)) -> list[torch.Tensor]:
    """The same for the uses at each of ``WIDTHS``, far from mean 0."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator, dtype=torch.float64) + 3
    return [x[:, :width].clone().requires_grad_() for width in WIDTHS]


def gradients(found: SlimBatchNorm, xs: list[torch.Tensor], ys: list[torch.Tensor]) -> list[torch.Tensor]:
    loss = sum((y * torch.linspace(-1, 2, y.numel()).double().view_as(y)).square().sum() for y in ys)
    return list(torch.autograd.grad(loss, [*xs, *found.parameters()]))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(8, 16, 3, 3), (8, 16)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_several_uses_in_a_step_are_the_plain_ones(affine, shape, groups):
    found, xs = norm(affine), inputs(shape)
    chain, plain = AffineChain(), BatchStatistics(groups)
    got = [chain.normalise(found, x, groups, found.eps, False) for x in xs]
    expected = [plain(found, x) for x in xs]
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradients(found, xs, got), gradients(found, xs, expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("left_out", range(3))
def test_a_use_without_a_part_in_the_loss_breaks_no_chain(left_out):
    found, xs, chain = norm(), inputs(), AffineChain()
    ys = [chain.normalise(found, x, 2, found.eps, False) for x in xs]
    used = [i for i in range(3) if i != left_out]
    got = torch.autograd.grad(sum(ys[i].square().sum() * (i + 1) for i in used), list(found.parameters()))
    plain = BatchStatistics(2)
    loss = sum(plain(found, xs[i]).square().sum() * (i + 1) for i in used)
    torch.testing.assert_close(got, torch.autograd.grad(loss, list(found.parameters())))


def test_backward_twice_gives_the_same_twice():
    found, xs, chain = norm(), inputs(), AffineChain()
    loss = sum(chain.normalise(found, x, 2, found.eps, False).square().sum() for x in xs)
    once, twice = (torch.autograd.grad(loss, list(found.parameters()), retain_graph=True) for _ in range(2))
    torch.testing.assert_close(once, twice, rtol=0, atol=0)


def synchronised(rank: int) -> list[torch.Tensor]:
    """Outputs and gradients of this process's half of each view."""
    found, statistics = norm(), SynchronisedStatistics(2)
    whole = inputs()
    xs = [torch.cat([view.chunk(2)[rank] for view in x.detach().chunk(2)]).requires_grad_() for x in whole]
    ys = [statistics(found, x) for x in xs]
    weights = [torch.linspace(-1, 2, x.numel()).double().view_as(x) for x in whole]
    mine = [torch.cat([view.chunk(2)[rank] for view in w.chunk(2)]) for w in weights]
    loss = sum((y * w).square().sum() for y, w in zip(ys, mine))
    return [*[y.detach() for y in ys], *torch.autograd.grad(loss, [*xs, *found.parameters()])]


def test_two_processes_normalise_each_view_as_one_does():
    found, xs = norm(), inputs()
    plain = BatchStatistics(2)
    ys = [plain(found, x) for x in xs]
    expected = [*[y.detach() for y in ys], *gradients(found, xs, ys)]
    parts = run_processes(synchronised, 2)
    for at, whole in enumerate(expected):
        if at < 2 * len(WIDTHS):  # of samples: put together; of parameters: summed
            halves = [part[at].chunk(2) for part in parts]
            got = torch.cat([half[view] for view in range(2) for half in halves])
        else:
            got = parts[0][at] + parts[1][at]
        torch.testing.assert_close(got, whole, rtol=1e-9, atol=1e-9)


def collectives(rank: int) -> int:
    """Calls of a forward and backward pass at two groups."""
    import torch.distributed as dist

    calls = []
    originals = dist.all_gather, dist.all_reduce
    dist.all_gather = lambda *a, **k: (calls.append("gather"), originals[0](*a, **k))
    dist.all_reduce = lambda *a, **k: (calls.append("reduce"), originals[1](*a, **k))
    SynchronisedStatistics(4)(norm(), inputs()[0]).sum().backward()
    return len(calls)


def test_all_parts_travel_together():
    assert run_processes(collectives, 2) == [2, 2]
