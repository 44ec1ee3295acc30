"""Batch-norm statistics of chosen widths, estimated before any use in eval mode.

The estimator. During training every batch is normalised by its own statistics and none are kept, because they differ
per width. Calibration repeats exactly that forward pass on training images, each batch normalised by itself, and pools
what every batch norm saw over all N = sum_b n_b elements of a channel:

    mean = sum x / N        variance = sum x^2 / N - mean^2

the mean and (population) variance of the pooled inputs: exact, unlike an exponential average, which weighs the last
batches most. Sums are float64, so the difference of squares does not cancel. All widths share one pass over the data,
and processes add their sums once at the end. The batch size matters, as the normalisation of early layers decides what
later layers see; it is fixed and recorded.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.slimmable.norms.statistics import BatchStatistics, Moments, batch_norms
from pretrain.slimmable.ops import SlimBatchNorm

LayerMoments = dict[str, Moments]


class PooledStatistics(BatchStatistics):
    """Normalises by the batch and adds up what each norm sees: float64 [3, c] of count, sum, sum of squares."""

    def __init__(self):
        super().__init__()
        self.sums: dict[SlimBatchNorm, Tensor] = {}

    def __call__(self, norm: SlimBatchNorm, x: Tensor) -> Tensor:
        dims = [0, *range(2, x.dim())]
        exact = x.double()
        if exact.numel() == exact.shape[1]:
            raise UserError("a batch of one image has maps of one pixel, without a variance; expected drop_last=True")
        count = torch.full_like(exact.sum(dims), exact.numel() // exact.shape[1])
        seen = torch.stack([count, exact.sum(dims), exact.square().sum(dims)])
        self.sums[norm] = self.sums[norm] + seen if norm in self.sums else seen
        return super().__call__(norm, x)

    def moments(self) -> dict[SlimBatchNorm, Moments]:
        """(mean, variance) of each batch norm in fp32, over all processes. One reduction."""
        if dist.is_available() and dist.is_initialized():
            flat = torch.cat([s.flatten() for s in self.sums.values()])
            dist.all_reduce(flat)
            parts = flat.split([s.numel() for s in self.sums.values()])
            self.sums = {n: p.view(3, -1) for n, p in zip(self.sums, parts, strict=True)}
        pooled = {}
        for norm, (count, total, squares) in self.sums.items():
            mean = total / count
            pooled[norm] = (mean.float(), (squares / count - mean.square()).clamp_min(0).float())
        return pooled


def all_norms(backbone: nn.Module, projector: nn.Module | None) -> dict[str, SlimBatchNorm]:
    """The batch norms of a backbone, and of a projector on it as ``projector.…``, by name."""
    found = batch_norms(backbone)
    if projector is not None:
        found |= {f"projector.{name}": norm for name, norm in batch_norms(projector).items()}
    return found


@torch.no_grad()
def calibrate(
    backbone: nn.Module, batches: Iterable[Tensor], widths: list[float], projector: nn.Module | None = None
) -> dict[str, LayerMoments]:
    """Statistics of every width of ``widths`` from one pass over ``batches``.

    batches: normalised images [B, 3, H, W] on the backbone's device. Returns, by channel key
    (``backbone.channels(w).key``), a (mean, variance) of shape [c] for each batch norm by name; those of a
    ``projector`` on the backbone's features are named ``projector.…``.
    Errors: UserError without a single batch.
    """
    names = {norm: name for name, norm in all_norms(backbone, projector).items()}
    pools = {width: PooledStatistics() for width in widths}
    seen = 0
    for images in batches:
        seen += len(images)
        for width, pool in pools.items():
            features = backbone(images, width, pool)
            if projector is not None:
                projector(features, pool)
    if not seen:
        raise UserError("calibration needs at least one batch of images, got none")
    return {
        backbone.channels(width).key: {names[norm]: moments for norm, moments in pool.moments().items()}
        for width, pool in pools.items()
    }
