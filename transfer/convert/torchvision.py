"""torchvision: a state dict with the names of ``torchvision.models.resnet18`` and ``resnet50``, without ``fc``.

At width 1 it loads into torchvision's own class (``load_state_dict(state, strict=False)`` misses ``fc`` alone); a
narrower one has the same names with fewer channels.
"""

from pathlib import Path

import torch

from pretrain.plain.resnet import PlainResNet
from transfer.convert.files import replacing


def write(plain: PlainResNet, output: Path, metadata: dict) -> list[Path]:
    """``output/resnet18.pth``; loads with ``torch.load(path, weights_only=True)``."""
    path = output / f"resnet{plain.depth}.pth"
    with replacing(path) as partial:
        torch.save(plain.state_dict(), partial)
    return [path]
