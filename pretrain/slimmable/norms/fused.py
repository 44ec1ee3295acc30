"""Batch norm of many parts of a batch on a GPU in six launches, however many they are, where Triton is installed.

``parts.py`` asks torch's kernels once a part: with two views and eight chunks 16 times each, which was half of all that
a step of ResNet-50 with eight chunks launched. Here a kernel goes through all parts (``fused_kernels.py``). Statistics
and sums are float32, joined in a fixed order. That it computes what the parts alone compute is tested by Triton's
interpreter on CPUs; it was never timed on a GPU.
"""

from functools import cache

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pretrain.slimmable.norms.parts import added

FEWEST_PARTS = 3  # with two parts torch's own kernels are as few
BLOCK_ROWS, BLOCK = 32, 64  # of a tile: 2,048 numbers for 128 threads, rows of 128 bytes in bf16
PIECE = 1024  # rows that one program sums, at least
MOST_SPLITS = 32


def can_fuse(x: Tensor, groups: int) -> bool:
    """Whether ``x`` [B, C] or [B, C, H, W], channels side by side, has many parts on a GPU where Triton is there."""
    return (
        groups >= FEWEST_PARTS and x.is_cuda and x.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and side_by_side(x) and triton_runs()
    )  # fmt: skip


@cache
def triton_runs() -> bool:
    """Whether Triton is installed and can launch here, for which it needs a C compiler; asked once."""
    try:
        import triton

        triton.runtime.driver.active.get_current_target()
    except Exception:  # it fails in as many ways as there are machines, and each of them means no
        return False
    return True


def side_by_side(x: Tensor) -> bool:
    """Whether the channels of an image's place follow each other in memory."""
    return x.is_contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.is_contiguous()


class FusedBatchNorm(torch.autograd.Function):
    """``apply(x, weight, bias, groups, eps)`` -> (y, weight, bias), the latter for the next use; see ``affine.py``."""

    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float
    ) -> tuple[Tensor | None, ...]:
        with torch.cuda.device_of(x):
            mean, inverse = moments(x, groups, eps)
            y = normalised(x, weight, bias, mean, inverse)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.set_materialize_grads(False)
        return y, *(None if one is None else one.view_as(one) for one in (weight, bias))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor | None, *later: Tensor | None) -> tuple[Tensor | None, ...]:
        """later: the gradients of weight and bias, [C] each, from the uses after this one."""
        if grad is None:
            return None, *later, None, None
        x, weight, mean, inverse = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)
        with torch.cuda.device_of(x):
            sums, affine = gradient_sums(grad, x, mean, inverse)
            dx = input_gradient(grad, x, weight, mean, inverse, sums) if ctx.needs_input_grad[0] else None
        learns = weight is not None and ctx.needs_input_grad[1]
        return dx, *(added([affine], len(weight), later) if learns else (None, None)), None, None


def moments(x: Tensor, parts: int, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / deviation of each part, float32 [parts, C] each."""
    from pretrain.slimmable.norms import fused_kernels as kernels

    cut = Pieces(x, parts)
    means, squares = x.new_empty(2, cut.pieces, cut.channels, dtype=torch.float32)
    mean, inverse = x.new_empty(2, parts, cut.channels, dtype=torch.float32)
    kernels.moments_of_pieces[cut.pieces, cut.blocks](
        x, means, squares, cut.rows, cut.channels, cut.splits, BLOCK_ROWS=BLOCK_ROWS, BLOCK=BLOCK
    )
    kernels.moments_of_parts[parts, cut.blocks](
        means, squares, mean, inverse, cut.rows, cut.channels, cut.splits, eps, BLOCK=BLOCK
    )
    return mean, inverse


def normalised(x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, inverse: Tensor) -> Tensor:
    """y, by the first channels of weight and bias."""
    from pretrain.slimmable.norms import fused_kernels as kernels

    cut, y = Pieces(x, len(mean)), torch.empty_like(x)
    kernels.normalise[cut.parts * cut.tiles, cut.blocks](
        x, y, given(weight, x), given(bias, x), mean, inverse, cut.rows, cut.channels, cut.tiles,
        AFFINE=weight is not None, BLOCK_ROWS=BLOCK_ROWS, BLOCK=BLOCK,
    )  # fmt: skip
    return y


def gradient_sums(grad: Tensor, x: Tensor, mean: Tensor, inverse: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Sums of dy and dy (x - mean), float32 [2, parts, C], and the gradients of weight and bias, float32 [C] each."""
    from pretrain.slimmable.norms import fused_kernels as kernels

    cut = Pieces(x, len(mean))
    found = x.new_empty(2, cut.pieces, cut.channels, dtype=torch.float32)
    sums, affine = found.new_empty(2, cut.parts, cut.channels), found.new_empty(2, cut.channels)
    kernels.gradient_sums_of_pieces[cut.pieces, cut.blocks](
        grad, x, mean, found, cut.rows, cut.channels, cut.splits, cut.pieces, BLOCK_ROWS=BLOCK_ROWS, BLOCK=BLOCK
    )
    kernels.gradient_sums_of_parts[(cut.blocks,)](
        found, inverse, sums, affine, cut.channels, cut.splits, cut.parts, cut.pieces, BLOCK=BLOCK
    )
    weight, bias = affine
    return sums, (weight, bias)


def input_gradient(
    grad: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, inverse: Tensor, sums: Tensor
) -> Tensor:
    """dx, of the shape and number format of ``x``. sums: those of ``gradient_sums``."""
    from pretrain.slimmable.norms import fused_kernels as kernels

    cut, dx = Pieces(x, len(mean)), torch.empty_like(x)
    kernels.input_gradient[cut.parts * cut.tiles, cut.blocks](
        grad, x, dx, given(weight, x), mean, inverse, sums, cut.rows, cut.channels, cut.tiles, cut.parts,
        AFFINE=weight is not None, BLOCK_ROWS=BLOCK_ROWS, BLOCK=BLOCK,
    )  # fmt: skip
    return dx


class Pieces:
    """How the kernels divide ``x``: parts of ``rows``, each in ``splits`` pieces to be summed and ``tiles`` to be
    written; ``blocks`` of channels."""

    def __init__(self, x: Tensor, parts: int):
        self.parts, self.channels = parts, x.shape[1]
        self.rows = x.numel() // (self.channels * parts)
        self.splits = min(max(1, self.rows // PIECE), MOST_SPLITS)
        self.pieces, self.tiles = parts * self.splits, -(-self.rows // BLOCK_ROWS)
        self.blocks = -(-self.channels // BLOCK)


def given(parameter: Tensor | None, x: Tensor) -> Tensor:
    """The parameter, whose first channels are read; without one any tensor, which is not."""
    return x if parameter is None else parameter
