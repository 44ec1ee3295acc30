"""The first stage of a view, on loader workers: turn, cut a box out, resize it, mirror. uint8 in, uint8 out.

Of a batch of images of one size by matrices, or of one image after the other by torchvision's kernels for uint8. Each
sample has parameters of its own; tested against torchvision sample by sample.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

from pretrain.data.augmentation.parameters import ViewParameters
from pretrain.data.augmentation.settings import INTERPOLATIONS


def crop(images: Tensor, parameters: ViewParameters, size: int, interpolation: str) -> Tensor:
    """Geometry: rotate, cut the box out, resize it to ``size`` with antialiasing, mirror. uint8 in, uint8 out.

    Resizing is linear and separable, so box, scale and mirror of a sample are two matrices: R image C^T. In float64,
    because products of other batch sizes sum in another order, and what is rounded to uint8 must not depend on that.
    """
    x = images.double()
    if parameters.angle.any():
        x = rotate(x, torch.from_numpy(parameters.angle).to(x))
    box = torch.from_numpy(parameters.box).to(x)
    flip = torch.from_numpy(parameters.flip).to(x.device)
    rows = resampling(box[:, 0], box[:, 2], x.shape[2], size, interpolation)
    columns = resampling(box[:, 1], box[:, 3], x.shape[3], size, interpolation)
    columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    across = (x.flatten(1, 2) @ columns.transpose(1, 2)).unflatten(1, x.shape[1:3])
    # channel by channel: one broadcast product would copy ``rows`` for each of them
    down = ((rows @ channel).round_().clamp_(0, 255).to(torch.uint8) for channel in across.unbind(dim=1))
    return torch.stack(list(down), dim=1)


def crop_one(image: Tensor, parameters: ViewParameters, size: int, interpolation: str) -> Tensor:
    """``crop`` of one image, uint8 [3, H, W], by parameters of one row, with torchvision's kernels for uint8."""
    if parameters.angle[0]:
        image = V.rotate(image, float(parameters.angle[0]), INTERPOLATIONS["bilinear"])
    top, left, height, width = map(int, parameters.box[0])
    x = V.resized_crop(image, top, left, height, width, [size, size], INTERPOLATIONS[interpolation], antialias=True)
    return V.horizontal_flip(x) if parameters.flip[0] else x


def resampling(start: Tensor, length: Tensor, source: int, size: int, interpolation: str) -> Tensor:
    """[N, size, source]: row i holds the weights of output pixel i over the source pixels of [start, start + length).

    The kernel is a triangle (``bilinear``) or Keys' cubic with a = -0.5 (``bicubic``), widened where it shrinks the
    image (antialiasing) and cut off at the box, as in torch's ``interpolate(antialias=True)``.
    """
    start, scale = start[:, None, None], (length / size)[:, None, None]
    centre = scale * (torch.arange(size, device=start.device, dtype=start.dtype)[:, None] + 0.5)
    position = torch.arange(source, device=start.device, dtype=start.dtype) - start
    weights = KERNELS[interpolation](((position + 0.5 - centre) / scale.clamp_min(1)).abs())
    weights = weights * ((position >= 0) & (position < length[:, None, None]))
    return weights / weights.sum(dim=2, keepdim=True)


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp_min(0)


def _cubic(x: Tensor) -> Tensor:
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


KERNELS = {"bilinear": _triangle, "bicubic": _cubic}


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn counter-clockwise about the centre, bilinear, black outside."""
    angle, (height, width) = degrees * (math.pi / 180), images.shape[2:]
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # affine_grid's coordinates run from -1 to 1 along both sides, whatever their lengths
    across, down = -sine * height / width, sine * width / height
    theta = torch.stack([torch.stack([cosine, across, zero], 1), torch.stack([down, cosine, zero], 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
