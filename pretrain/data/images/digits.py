"""The embedded default: scikit-learn's 1,797 handwritten digits (8x8), as RGB images. No download.

Alpaydin and Kaynak, "Optical recognition of handwritten digits" (UCI, 1998).
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

TEST_SHARE = 5


def digits(split: str, image_size: int = 32) -> tuple[Tensor, Tensor]:
    """uint8 [N, 3, image_size, image_size] and labels [N] of ``train`` (4 of 5) or ``test`` (every fifth)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    held_out = np.arange(len(digits.target)) % TEST_SHARE == 0
    chosen = held_out if split == "test" else ~held_out
    small = torch.tensor(digits.images[chosen], dtype=torch.float32)[:, None] / 16 * 255
    large = interpolate(small, size=(image_size, image_size), mode="bicubic", antialias=True).clamp(0, 255)
    return large.round().to(torch.uint8).expand(-1, 3, -1, -1), torch.tensor(digits.target[chosen])
