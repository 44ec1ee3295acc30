"""The norm of many parts by Triton, whose interpreter runs it on the CPU: what the plain norm computes in float64."""

from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.slimmable.norms.fused import FusedBatchNorm, Pieces, can_fuse
from tests.pretrain.processes import run_processes

EPS = 1e-5
CASES = {  # shape, parts, uses: channels of each use of one norm
    "maps": ((8, 72, 3, 3), 4, (72, 24, 8)),
    "features": ((24, 40), 4, (40, 24, 8)),
    "several pieces": ((6, 8, 32, 32), 3, (8,)),
}
RUNS = {  # case, affine, number format
    "maps": ("maps", True, torch.float32), "without parameters": ("maps", False, torch.float32),
    "features": ("features", True, torch.float32), "several pieces": ("several pieces", True, torch.float32),
    "bf16": ("maps", True, torch.bfloat16),
}  # fmt: skip


def inputs(case: str) -> tuple[list[Tensor], Tensor, Tensor, list[Tensor]]:
    """Images or features for each use, weight, bias, and a gradient of each output."""
    shape, _, uses = CASES[case]
    torch.manual_seed(0)
    whole = 2 * torch.randn(shape, dtype=torch.float64) + 50 * torch.randn(shape[1], dtype=torch.float64).view(
        1, -1, *(1,) * (len(shape) - 2)
    )
    xs = [whole[:, :channels].clone() for channels in uses]
    return xs, torch.randn(shape[1]).double(), torch.randn(shape[1]).double(), [torch.randn_like(x) for x in xs]


def plain(case: str, affine: bool) -> list[Tensor]:
    """Outputs, and gradients of the inputs, weight and bias, part by part by autograd."""
    xs, weight, bias, grads = inputs(case)
    pair = (weight, bias) if affine else (None, None)
    learnt = [tensor.requires_grad_() for tensor in (*xs, *(pair if affine else ()))]
    ys = [torch.cat([alone(part, *pair) for part in x.chunk(CASES[case][1])]) for x in xs]
    return [*ys, *torch.autograd.grad(ys, learnt, grads)]


def alone(part: Tensor, *pair: Tensor | None) -> Tensor:
    first = [None if one is None else one[: part.shape[1]] for one in pair]
    return F.batch_norm(part, None, None, *first, training=True, eps=EPS)


def fused(case: str, affine: bool, dtype: torch.dtype) -> list[Tensor]:
    """The same by one kernel after the other, in float32 or less, with what one use hands on to the next."""
    xs, weight, bias, grads = inputs(case)
    xs = [side_by_side(x.to(dtype)).requires_grad_() for x in xs]
    weight, bias = (one.float().requires_grad_() for one in (weight, bias))
    learnt = [*xs, *([weight, bias] if affine else [])]
    ys, pair = [], (weight, bias) if affine else (None, None)
    for x in xs:
        y, *pair = FusedBatchNorm.apply(x, *pair, CASES[case][1], EPS)
        ys.append(y)
    found = torch.autograd.grad(ys, learnt, [grad.to(dtype) for grad in grads])
    return [tensor.detach().double() for tensor in (*ys, *found)]


def side_by_side(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def fused_all(rank: int) -> dict[str, list[Tensor]]:
    return {name: fused(*arguments) for name, arguments in RUNS.items()}


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_the_kernels_compute_what_each_part_alone_has(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    [found] = run_processes(fused_all, 1, anew=True)  # triton reads that where it is imported
    for name, (case, affine, dtype) in RUNS.items():
        expected = plain(case, affine)
        assert len(found[name]) == len(expected) == 2 * len(CASES[case][2]) + 2 * affine
        for one, other in zip(found[name], expected, strict=True):
            if dtype == torch.float32:
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())
            else:  # of images at 50 with distances of 2 bf16 keeps one digit
                assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] > 0.98


def test_pieces_and_tiles_cover_every_row():
    cut = Pieces(torch.empty(6, 8, 40, 40), 3)
    assert (cut.rows, cut.splits, cut.pieces, cut.tiles, cut.blocks) == (3200, 3, 9, 100, 1)
    assert Pieces(torch.empty(4, 72), 4).blocks == 2


def test_only_a_gpu_asks_for_them():
    assert not can_fuse(torch.empty(16, 8), 8)
