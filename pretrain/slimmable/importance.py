"""How much a channel matters, so that narrow networks, which use the first ones, get those that matter.

``bn``: the scales of the batch norms that make it, |gamma| (Liu et al., "Learning efficient convolutional networks
through network slimming", ICCV 2017). ``l1``: the sum of the magnitudes of the weights that read it (Cai et al.,
"Once-for-all", ICLR 2020). ``activation``: that sum times the channel's mean magnitude on some images (Sun et al., "A
simple and effective pruning approach for large language models", ICLR 2024). Queries and keys, which no weight reads,
count by the weights that make them, or by their own magnitude.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.groups import ChannelGroup, Slot, reordered
from pretrain.slimmable.norms.statistics import batch_norms
from pretrain.slimmable.widths import WIDTH_MAX

CRITERIA = ("bn", "l1", "activation")
Magnitudes = Mapping[tuple[str, str], Tensor]  # (module, input or output) -> [C]


def sort_channels(backbone: SlimBackbone, criterion: str, batches: Iterable[Tensor] = ()) -> list[Tensor]:
    """Put the most important channels of every group first, in place; the new orders of ``backbone.groups()``.

    At width 1 the network computes what it computed before, its features in another order. batches: normalised
    images [B, C, H, W] for ``activation``, which takes batch norms' statistics from each.
    Errors: UserError for ``bn`` where there is no batch norm, and for a backbone without groups.
    """
    groups, state = backbone.groups(), backbone.state_dict()
    if not groups:
        raise UserError(
            f"{type(backbone).__name__} does not say which channels can be sorted; expected backbone.sort=none"
        )
    if criterion == "bn":
        norms = {f"{name}.weight" for name in batch_norms(backbone)}
        if not norms:
            raise UserError("there is no batch norm to sort channels by; expected l1 or activation")
        found = [sum(state[slot.name].abs() for slot in group.writes if slot.name in norms) for group in groups]
    elif criterion == "l1":
        found = [_weighed(state, group, None) for group in groups]
    else:
        magnitudes = _magnitudes(backbone, groups, batches)
        found = [_weighed(state, group, magnitudes) for group in groups]
    orders = [group.order(importance.cpu()) for group, importance in zip(groups, found, strict=True)]
    backbone.load_state_dict(reordered(state, groups, orders))
    return orders


def _weighed(state: Mapping[str, Tensor], group: ChannelGroup, magnitudes: Magnitudes | None) -> Tensor:
    """[size]: the weights that read each channel times its magnitude, where that is known, over all that read it."""
    total = torch.zeros(group.size)
    for slot in group.reads:
        weight = _part(_summed(state[slot.name], slot.dim), slot, group)
        seen = 1 if magnitudes is None else _part(magnitudes[slot.module, "input"], slot, group)
        total += weight * seen
    if not group.reads:
        for slot in group.writes:
            if magnitudes is not None:
                total += _part(magnitudes[slot.module, "output"], slot, group)
            elif state[slot.name].dim() > 1:
                total += _part(_summed(state[slot.name], slot.dim), slot, group)
    return total


def _summed(tensor: Tensor, dim: int) -> Tensor:
    """Sum of magnitudes over all dimensions but ``dim``."""
    return tensor.abs().sum(dim=[d for d in range(tensor.dim()) if d != dim])


def _part(values: Tensor, slot: Slot, group: ChannelGroup) -> Tensor:
    return values[slot.start : slot.start + group.size]


@torch.no_grad()
def _magnitudes(backbone: SlimBackbone, groups: list[ChannelGroup], batches: Iterable[Tensor]) -> Magnitudes:
    """Mean magnitude of each channel at the inputs of what reads it, or the outputs of what makes it."""
    plain = backbone.plain(backbone.channels(WIDTH_MAX))
    plain.load_state_dict(backbone.state_dict(), strict=False)  # all but running statistics, which no batch needs
    wanted = {(slot.module, "input") for group in groups for slot in group.reads}
    wanted |= {(slot.module, "output") for group in groups if not group.reads for slot in group.writes}
    sums, count = defaultdict(float), 0
    with _watched(plain.train(), wanted, sums):
        for images in batches:
            plain(images)
            count += 1
    if not count:
        raise UserError("sorting by activation needs at least one batch of images, got none")
    return {key: total / count for key, total in sums.items()}


@contextmanager
def _watched(plain: nn.Module, wanted: set[tuple[str, str]], sums: dict) -> Iterator[None]:
    """While the block runs, ``sums`` grow by the mean magnitudes of every batch."""

    def look(key: tuple[str, str], module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        x = inputs[0] if key[1] == "input" else output
        channels = 1 if isinstance(module, nn.Conv2d) else x.dim() - 1
        sums[key] = sums[key] + x.abs().mean(dim=[d for d in range(x.dim()) if d != channels])

    hooks = [plain.get_submodule(key[0]).register_forward_hook(partial(look, key)) for key in sorted(wanted)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
