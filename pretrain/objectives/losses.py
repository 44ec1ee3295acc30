"""The two losses of self-supervised learning: NT-Xent (InfoNCE) and negative cosine similarity (MSE).

Chen et al., "A simple framework for contrastive learning" (ICML 2020); Grill et al., "Bootstrap your own latent"
(NeurIPS 2020). US3L (CVPR 2023) calls them InfoNCE (Eq. 2) and MSE (Eq. 1); their gradients are its Eqs. 8 to 11.

Features are normalised and losses computed in fp32 (float64 stays), whatever the autocast.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.common.errors import UserError
from pretrain.run.distributed import all_gather

Views = tuple[Tensor, Tensor]
PairLoss = Callable[[Views, Views], Tensor]


def at_least_fp32(x: Tensor) -> Tensor:
    """``x`` in fp32, or as it is in float64."""
    return x if x.dtype == torch.float64 else x.float()


def unit(x: Tensor) -> Tensor:
    """Rows of [B, D] at length 1, at least fp32."""
    return F.normalize(at_least_fp32(x), dim=1)


def negative_cosine(student: Tensor, target: Tensor) -> Tensor:
    """-cos(student, target), mean over the rows of [B, D]. On unit vectors it is half the squared distance minus 1.

    >>> negative_cosine(torch.eye(2), torch.eye(2))
    tensor(-1.)
    """
    with torch.autocast(student.device.type, enabled=False):
        return -(unit(student) * unit(target)).sum(dim=1).mean()


def nt_xent(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Normalised-temperature cross entropy over the 2B rows of cat(student, target), both [B, D].

    Every row is an anchor: its positive is its counterpart in the other half, its 2B - 1 candidates are all rows but
    itself. Mean over rows. This is what the paper's figures were made with; its Eq. 2 has only the student as anchor.
    """
    with torch.autocast(student.device.type, enabled=False):
        z = unit(torch.cat([student, target]))
        rows = len(z)
        logits = (z @ z.T / temperature).masked_fill(torch.eye(rows, dtype=torch.bool, device=z.device), -torch.inf)
        positives = torch.arange(rows, device=z.device).roll(rows // 2)
        return F.cross_entropy(logits, positives)


def symmetric(loss: Callable[[Tensor, Tensor], Tensor], student: Views, target: Views) -> Tensor:
    """Opposite views: student of view 1 against target of view 2 and vice versa, averaged over the two orders."""
    return (loss(student[0], target[1]) + loss(student[1], target[0])) / 2


def infonce(student: Views, target: Views, temperature: float = 0.5, gather: bool = False) -> Tensor:
    """NT-Xent over both orders. With ``target is student`` (SimCLR) the two orders are one and the same loss.

    gather: candidates from all processes; every process then computes the same loss over all rows.
    """
    if gather:
        same = target is student
        student = (all_gather(student[0]), all_gather(student[1]))
        target = student if same else (all_gather(target[0]), all_gather(target[1]))
    if target is student:
        return nt_xent(student[0], student[1], temperature)
    return symmetric(partial(nt_xent, temperature=temperature), student, target)


def mse(student: Views, target: Views) -> Tensor:
    """Negative cosine similarity over both orders."""
    return symmetric(negative_cosine, student, target)


def pair_loss(name: str, temperature: float, gather: bool) -> PairLoss:
    """``infonce`` or ``mse`` as a function of (student, target). Errors: UserError for a temperature not above 0."""
    if name == "mse":
        return mse
    check_temperature(temperature)
    return partial(infonce, temperature=temperature, gather=gather)


def check_temperature(*values: float) -> None:
    """UserError unless every temperature is above 0."""
    for value in values:
        if not value > 0:
            raise UserError(f"objective.temperature is {value:g}; expected a number above 0")


def per_chunk(loss: PairLoss, student: Tensor, target: Tensor, chunks: int) -> Tensor:
    """Mean of ``loss`` over ``chunks`` equal parts of the batch: the arithmetic of that many processes in one.

    student, target: [2B, D], view 1 above view 2. ``target is student`` is kept, as the losses tell SimCLR by it.
    """
    parts = zip(*(half.chunk(chunks) for half in student.chunk(2)), strict=True)
    if target is student:
        return torch.stack([loss(s, s) for s in parts]).mean()
    targets = zip(*(half.chunk(chunks) for half in target.chunk(2)), strict=True)
    return torch.stack([loss(s, t) for s, t in zip(parts, targets, strict=True)]).mean()
