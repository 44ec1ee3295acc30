"""Augmentation of a whole batch at once, each sample by parameters of its own, on any device.

Every function does what torchvision's of the same name does to float images, tested against it sample by sample; a
sample costs a fraction of what one call after another for each of them costs. Images are float [N, 3, H, W] in [0, 1].
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

from pretrain.data.parameters import ViewParameters
from pretrain.data.views import INTERPOLATIONS, Views

LUMA = (0.2989, 0.587, 0.114)
BLOCK = 32  # pixels of a side that are blurred at a time
NEGLIGIBLE = 1e-12  # weight of a blur's tap: far below float32's resolution; CPUs take tiny numbers at a crawl


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


def colour(images: Tensor, parameters: ViewParameters, views: Views) -> Tensor:
    """Everything after geometry: jitter, grayscale, blur, solarize. uint8 or float [0, 1] in, float [0, 1] out."""
    x = images.to(torch.get_default_dtype()).div_(255) if images.dtype == torch.uint8 else images.clone()
    x = jitter(x, parameters) if views.jitter_p > 0 else x
    if views.grayscale > 0:
        x = _on(parameters.grayscale, x, lambda chosen, _: luminance(chosen).expand_as(chosen))
    if views.blur > 0:
        x = _on(parameters.blur, x, gaussian_blur, parameters.sigma, kernel=blur_kernel(x.shape[-1]))
    if views.solarize > 0:
        x = _on(parameters.solarize, x, lambda chosen, _: torch.where(chosen >= 128 / 255, 1 - chosen, chosen))
    return x


def jitter(x: Tensor, parameters: ViewParameters) -> Tensor:
    """Brightness, contrast, saturation and hue of each sample in an order of its own. May write into ``x``."""
    steps = (brightness, contrast, saturation, hue)
    for turn in parameters.order.T:
        for kind in np.unique(turn[parameters.jitter]):
            x = _on(parameters.jitter & (turn == kind), x, steps[kind], parameters.factors[:, kind])
    return x


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    # in float64 the sum of so few float32 hardly depends on its order, so neither on what else is in the batch
    mean = luminance(x).mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64).to(x)
    return (x * factor).add_(mean * (1 - factor)).clamp_(0, 1)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor).add_(luminance(x).mul_(1 - factor)).clamp_(0, 1)


def hue(x: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` of a full circle; value and saturation stay (HSV).

    On the circle of hues red, green and blue sit at 0, 1/3 and 2/3. A channel is max up to a distance of 1/6 from its
    place, min from 1/3 on and linear between. Masks are numbers, which are several times as fast as ``where`` on CPUs.
    """
    red, green, blue = x.split(1, dim=1)
    high = torch.maximum(red, green).maximum(blue)
    low = torch.minimum(red, green).minimum(blue)
    chroma = high - low
    is_red = torch.eq(red, high, out=torch.empty_like(high))
    not_red = 1 - is_red
    is_green = torch.eq(green, high, out=torch.empty_like(high)).mul_(not_red)
    is_blue = not_red.sub_(is_green)
    ahead = (green - blue).mul_(is_red).addcmul_(blue - red, is_green).addcmul_(red - green, is_blue)
    ahead.div_((chroma * 6).clamp_min_(torch.finfo(x.dtype).tiny))
    circle = ahead.add_(is_green, alpha=1 / 3).add_(is_blue, alpha=2 / 3)
    away = circle - (torch.tensor([0, 1 / 3, 2 / 3], device=x.device, dtype=x.dtype).view(1, 3, 1, 1) - shift)
    away.sub_(away.round()).abs_()
    return torch.rsub(away, 2, alpha=6).clamp_(0, 1).mul_(chroma).add_(low)


def luminance(x: Tensor) -> Tensor:
    """[N, 1, H, W] by ITU-R 601-2."""
    red, green, blue = x.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def blur_kernel(image_size: int) -> int:
    """A tenth of the image, odd, at least 3 px."""
    return max(3, image_size // 10 // 2 * 2 + 1)


def gaussian_blur(x: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Gaussian of ``sigma`` px, cut to ``kernel`` taps, mirrored at the border; separable: B image B^T.

    A product with a band matrix does ten times the work of a convolution and takes a seventh of its time on a CPU. Of
    large images it computes some pixels at a time, from those that the band reaches: half the time again.
    """
    height, width = x.shape[2:]
    rows = blur_matrix(sigma.flatten(), height, kernel)[:, None]
    columns = rows if width == height else blur_matrix(sigma.flatten(), width, kernel)[:, None]
    columns = columns.transpose(2, 3)
    across = [x[..., reach] @ columns[:, :, reach, block] for block, reach in blur_blocks(width, kernel)]
    x = torch.cat(across, dim=3)
    return torch.cat([rows[:, :, block, reach] @ x[:, :, reach] for block, reach in blur_blocks(height, kernel)], dim=2)


def blur_blocks(size: int, kernel: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of pixels, and the pixels that each depends on."""
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        yield slice(start, stop), slice(max(0, start - kernel // 2), min(size, stop + kernel // 2))


def blur_matrix(sigma: Tensor, size: int, kernel: int) -> Tensor:
    """[N, size, size]: row i holds the weights of the pixels around i, with those beyond the border mirrored back."""
    taps = torch.arange(kernel, device=sigma.device) - kernel // 2
    weights = torch.exp(-0.5 * (taps / sigma[:, None]) ** 2)
    weights = torch.threshold(weights / weights.sum(dim=1, keepdim=True), NEGLIGIBLE, 0.0)
    source = (torch.arange(size, device=sigma.device)[:, None] + taps).abs()
    source = torch.minimum(source, 2 * (size - 1) - source)
    shape = (len(sigma), size, kernel)
    matrix = torch.zeros(len(sigma), size, size, device=sigma.device, dtype=sigma.dtype)
    return matrix.scatter_add_(2, source.expand(shape), weights[:, None].expand(shape))


def _on(chosen: np.ndarray, x: Tensor, step, values: np.ndarray | None = None, **options) -> Tensor:
    """``step`` on the chosen samples with a value for each; the others as they are. May write into ``x``."""
    if not chosen.any():
        return x
    values = chosen if values is None else values
    if chosen.all():
        return step(x, torch.from_numpy(values).to(x).view(-1, 1, 1, 1), **options)
    index = torch.from_numpy(np.flatnonzero(chosen)).to(x.device)
    value = torch.from_numpy(values[chosen]).to(x).view(-1, 1, 1, 1)
    return x.index_copy_(0, index, step(x.index_select(0, index), value, **options))
