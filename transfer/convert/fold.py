"""Batch norms folded into the convolutions before them: in eval mode the same function with fewer layers.

Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference" (CVPR
2018), section 3.2, by ``torch.nn.utils.fusion``. The pairs are read off the traced graph, so that any backbone will do
whose batch norms each follow one convolution that nothing else reads.
"""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pretrain.common.errors import UserError
from pretrain.plain.cost import image_channels

TOLERANCE = 1e-4  # of the largest feature


def fold_batch_norms(plain: nn.Module) -> nn.Module:
    """A copy of ``plain`` in eval mode whose convolutions have a bias and whose batch norms are ``nn.Identity``.

    The names of what remains stay the same. Computed in float64, then cast back.
    Errors: UserError for a backbone without batch norms; RuntimeError if one can't be folded or the features change.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in plain.modules()):
        raise UserError(f"{type(plain).__name__} has no batch norms to fold; expected a convolutional backbone")
    folded = copy.deepcopy(plain).eval()
    for conv_name, norm_name in conv_norm_pairs(folded):
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        replace(folded, conv_name, fuse_conv_bn_eval(conv.double(), norm.double()).to(next(plain.parameters()).dtype))
        replace(folded, norm_name, nn.Identity())
    left = [name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
    if left:
        raise RuntimeError(f"batch norms that follow no convolution of their own: {', '.join(left)}")
    check_same(plain, folded)
    return folded


def conv_norm_pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Names of each convolution whose output goes to a batch norm and nowhere else, and of that norm."""
    graph, modules = torch.fx.symbolic_trace(module).graph, dict(module.named_modules())
    pairs = []
    for node in graph.nodes:
        if node.op == "call_module" and isinstance(modules[node.target], nn.BatchNorm2d):
            before = node.args[0]
            if before.op == "call_module" and isinstance(modules[before.target], nn.Conv2d) and len(before.users) == 1:
                pairs.append((before.target, node.target))
    return pairs


def replace(module: nn.Module, name: str, new: nn.Module) -> None:
    """Put ``new`` in the place of the submodule ``name``."""
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, new)


@torch.no_grad()
def check_same(plain: nn.Module, other: nn.Module, size: int = 64) -> None:
    """RuntimeError unless both compute the same features of random images, to ``TOLERANCE``."""
    reference = next(plain.parameters())
    images = torch.randn(2, image_channels(plain), size, size, generator=torch.Generator().manual_seed(0)).to(reference)
    training = plain.training
    expected, found = plain.eval()(images), other.eval()(images)
    plain.train(training)
    worst = float((found - expected).abs().max())
    if not worst <= TOLERANCE * float(expected.abs().max()):
        raise RuntimeError(f"the features differ by up to {worst:.3g}; nothing was written")
