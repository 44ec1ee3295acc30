"""Augmentation of a whole batch at once, each sample by parameters of its own, on any device.

Every function does what torchvision's of the same name does to float images, tested against it sample by sample; a
sample costs a fraction of what one call after another for each of them costs. Images are float [N, 3, H, W] in [0, 1].
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

from pretrain.data.parameters import ViewParameters
from pretrain.data.views import INTERPOLATIONS, Views

LUMA = (0.2989, 0.587, 0.114)


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
    resized = rows[:, None] @ x @ columns.transpose(1, 2)[:, None]
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def crop_each(images: Sequence[Tensor], parameters: ViewParameters, size: int, interpolation: str) -> Tensor:
    """``crop`` of images of different sizes, uint8 [3, H, W] each, one by one with torchvision's kernels for uint8."""
    cut = []
    for n, image in enumerate(images):
        if parameters.angle[n]:
            image = V.rotate(image, float(parameters.angle[n]), INTERPOLATIONS["bilinear"])
        top, left, height, width = map(int, parameters.box[n])
        x = V.resized_crop(image, top, left, height, width, [size, size], INTERPOLATIONS[interpolation], antialias=True)
        cut.append(V.horizontal_flip(x) if parameters.flip[n] else x)
    return torch.stack(cut)


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


def colour(images: Tensor, parameters: ViewParameters, views: Views) -> Tensor:
    """Everything after geometry: jitter, grayscale, blur, solarize. uint8 or float [0, 1] in, float [0, 1] out."""
    x = images.to(torch.get_default_dtype()) / 255 if images.dtype == torch.uint8 else images
    x = jitter(x, parameters) if views.jitter_p > 0 else x
    if views.grayscale > 0:
        x = _where(parameters.grayscale, luminance(x).expand_as(x), x)
    if views.blur > 0:
        x = _on(parameters.blur, x, gaussian_blur, parameters.sigma, kernel=blur_kernel(x.shape[-1]))
    if views.solarize > 0:
        x = _where(parameters.solarize, torch.where(x >= 128 / 255, 1 - x, x), x)
    return x


def jitter(x: Tensor, parameters: ViewParameters) -> Tensor:
    """Brightness, contrast, saturation and hue of each sample in an order of its own."""
    steps = (brightness, contrast, saturation, hue)
    for place in range(4):
        for kind, step in enumerate(steps):
            chosen = parameters.jitter & (parameters.order[:, place] == kind)
            x = _on(chosen, x, step, parameters.factors[:, kind])
    return x


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(luminance(x).mean(dim=(1, 2, 3), keepdim=True), x, factor).clamp_(0, 1)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(luminance(x), x, factor).clamp_(0, 1)


def hue(x: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` of a full circle; value and saturation stay (HSV).

    In HSV a channel is v - c * max(0, min(k, 4 - k, 1)) with k = (n + 6 h) mod 6 and n = 5, 3, 1 for R, G, B; c = max -
    min and v = max are not touched by the turn, so saturation never has to be computed.
    """
    value, most = x.max(dim=1, keepdim=True)
    chroma = value - x.amin(dim=1, keepdim=True)
    red, green, blue = x.split(1, dim=1)
    ahead = torch.where(most == 0, green - blue, torch.where(most == 1, blue - red, red - green))
    sixth = ahead / torch.where(chroma == 0, 1.0, chroma) + 2.0 * most.to(x.dtype) + 6.0 * shift
    k = (sixth + torch.tensor([5.0, 3.0, 1.0], device=x.device, dtype=x.dtype).view(1, 3, 1, 1)).remainder(6.0)
    return value - chroma * torch.minimum(k, 4.0 - k).clamp_(0.0, 1.0)


def luminance(x: Tensor) -> Tensor:
    """[N, 1, H, W] by ITU-R 601-2."""
    red, green, blue = x.split(1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def blur_kernel(image_size: int) -> int:
    """A tenth of the image, odd, at least 3 px."""
    return max(3, image_size // 10 // 2 * 2 + 1)


def gaussian_blur(x: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Gaussian of ``sigma`` px, cut to ``kernel`` taps, mirrored at the border; separable, a group per channel."""
    taps = torch.arange(kernel, device=x.device, dtype=x.dtype) - (kernel - 1) / 2
    weights = torch.exp(-0.5 * (taps / sigma.view(-1, 1)) ** 2)
    weights = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(3, dim=0)
    count, _, height, width = x.shape
    planes = F.pad(x, [kernel // 2] * 4, mode="reflect").reshape(1, 3 * count, height + kernel - 1, width + kernel - 1)
    planes = F.conv2d(planes, weights[:, None, :, None], groups=3 * count)
    planes = F.conv2d(planes, weights[:, None, None, :], groups=3 * count)
    return planes.view(count, 3, height, width)


def _on(chosen: np.ndarray, x: Tensor, step, values: np.ndarray, **options) -> Tensor:
    """``step`` on the chosen samples with a value for each; the others as they are."""
    index = torch.from_numpy(np.flatnonzero(chosen)).to(x.device)
    if not len(index):
        return x
    value = torch.from_numpy(values[chosen]).to(x).view(-1, 1, 1, 1)
    return x.index_copy(0, index, step(x[index], value, **options))


def _where(chosen: np.ndarray, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(torch.from_numpy(chosen).to(b.device).view(-1, 1, 1, 1), a, b)
