"""What torch has for GPUs only, by elementary operations: what its SyncBatchNorm is made of, with the same arguments.

x: [B, C, ...]. mean, inverse: [C], the mean and 1 / sqrt(variance + eps) of each channel.
"""

import torch
from torch import Tensor


def _dims(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _along(values: Tensor, x: Tensor) -> Tensor:
    """[C] -> [1, C, 1, …], to go with ``x``."""
    return values.view([1, -1] + [1] * (x.dim() - 2))


def _exact(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def batch_norm_stats(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(_exact(x), _dims(x), correction=0)
    return mean, torch.rsqrt(variance + eps)


def batch_norm_gather_stats_with_counts(
    x: Tensor, means: Tensor, inverses: Tensor, running_mean: None, running_var: None, momentum: float, eps: float,
    numbers: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Moments of W processes together, [W, C] each, with ``numbers`` [W] of elements."""
    shares = (numbers / numbers.sum())[:, None]
    mean = (shares * means).sum(dim=0)
    variance = (shares * (inverses**-2 - eps + (means - mean).square())).sum(dim=0)
    return mean, torch.rsqrt(variance + eps)


def batch_norm_elemt(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, inverse: Tensor, eps: float, out: Tensor
) -> None:
    y = (_exact(x) - _along(mean, x)) * _along(inverse, x)
    out.copy_(y if weight is None else y * _along(weight, x) + _along(bias, x))


def batch_norm_backward_reduce(
    dy: Tensor, x: Tensor, mean: Tensor, inverse: Tensor, weight: Tensor | None, *wanted: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums of dy and of dy (x - mean), and the gradients of weight and bias, [C] each."""
    total = _exact(dy).sum(_dims(x))
    product = (_exact(dy) * (_exact(x) - _along(mean, x))).sum(_dims(x))
    return total, product, product * inverse, total.clone()


def batch_norm_backward_elemt(
    dy: Tensor, x: Tensor, mean: Tensor, inverse: Tensor, weight: Tensor | None, total: Tensor, product: Tensor,
    numbers: Tensor,
) -> Tensor:  # fmt: skip
    """The gradient of x. total, product: the sums over all ``numbers`` [W] of elements."""
    number = numbers.sum()
    centred = (_exact(x) - _along(mean, x)) * _along(inverse.square() * product / number, x)
    scale = inverse if weight is None else inverse * weight
    return ((_exact(dy) - _along(total / number, x) - centred) * _along(scale, x)).to(x.dtype)
