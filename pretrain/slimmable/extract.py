"""Cut a plain backbone of one width out of a universal one: ordinary modules, torchvision's names, nothing slimmable.

Its output is bit-equal to the slimmable network's at that width on the CPU: the same operators see the same numbers.
"""

import torch
from torch import Tensor, nn

from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.calibrate import LayerMoments
from pretrain.slimmable.norms.statistics import batch_norms


def extract(backbone: SlimBackbone, channels, moments: LayerMoments, share: bool = False) -> nn.Module:
    """The sub-network ``channels`` of ``backbone`` as ``backbone.plain(channels)``, in eval mode.

    moments: (mean, variance) [c] of each batch norm by name, which become its running statistics. share: the weights
    stay views of the backbone's, to be read only, where a cut can be one.
    """
    with torch.device("meta" if share else "cpu"):
        plain = backbone.plain(channels)
    state = sliced_state(backbone, channels, moments, plain.state_dict())
    if not share:
        state = {name: tensor.clone() for name, tensor in state.items()}
    for name, norm in batch_norms(backbone).items():
        if norm.private is not None:  # a set of affine parameters of its own, not a prefix
            weight, bias = norm.affine(len(state[f"{name}.weight"]))
            state |= {f"{name}.weight": weight.detach().clone(), f"{name}.bias": bias.detach().clone()}
    plain.load_state_dict(state, assign=share)
    return plain.requires_grad_(not share).eval()


def sliced_state(
    backbone: SlimBackbone, channels, moments: LayerMoments, shapes: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The state that a plain network of shapes ``shapes`` takes: cuts of the backbone's and the given statistics."""
    full, statistics = backbone.state_dict(), {}
    for name, (mean, variance) in moments.items():
        statistics[f"{name}.running_mean"] = mean
        statistics[f"{name}.running_var"] = variance
    state = {}
    for name, like in shapes.items():
        if name in full:
            state[name] = backbone.cut(name, full[name], channels, tuple(like.shape))
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(like.shape, dtype=like.dtype)
        else:
            state[name] = statistics[name]
    return state
