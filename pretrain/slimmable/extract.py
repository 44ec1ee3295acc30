"""Cut a plain backbone of one width out of a universal one: ordinary modules, torchvision's names, nothing slimmable.

Its output is bit-equal to the slimmable network's at that width on the CPU: the same operators see the same numbers.
"""

import torch
from torch import Tensor, nn

from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.calibrate import LayerMoments


def extract(backbone: SlimBackbone, channels, moments: LayerMoments) -> nn.Module:
    """The sub-network ``channels`` of ``backbone`` as ``backbone.plain(channels)``, in eval mode.

    moments: (mean, variance) [c] of each batch norm by name, which become its running statistics.
    """
    plain = backbone.plain(channels)
    plain.load_state_dict(sliced_state(backbone, channels, moments, plain.state_dict()))
    return plain.eval()


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
            state[name] = backbone.cut(name, full[name], channels, tuple(like.shape)).clone()
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.zeros_like(like)
        else:
            state[name] = statistics[name]
    return state
