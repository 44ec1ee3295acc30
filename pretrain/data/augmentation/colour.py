"""The second stage of a view, on the training device: its colours, for a whole batch at once.

Every function does what torchvision's of the same name does to float images, each sample by parameters of its own,
tested against it sample by sample; a sample costs a fraction of what one call after another for each of them costs.
Images are float [N, 3, H, W] in [0, 1].
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pretrain.common.devices import constant
from pretrain.data.augmentation.parameters import ViewParameters
from pretrain.data.augmentation.settings import Augmentation, blur_kernel

LUMA = (0.2989, 0.587, 0.114)
BLOCK = 32  # pixels of a side that are blurred at a time
NEGLIGIBLE = 1e-12  # weight of a blur's tap: far below float32's resolution; CPUs take tiny numbers at a crawl


def colour(images: Tensor, parameters: ViewParameters, augmentation: Augmentation) -> Tensor:
    """Everything after geometry: jitter, grayscale, blur, solarize. uint8 or float [0, 1] in, float [0, 1] out.

    Saturation, hue and grayscale are steps of RGB images; others leave them out.
    """
    x = images.to(torch.get_default_dtype()).div_(255) if images.dtype == torch.uint8 else images.clone()
    x = jitter(x, parameters) if augmentation.jitter_p > 0 else x
    if augmentation.grayscale > 0 and x.shape[1] == 3:
        x = _on(parameters.grayscale, x, lambda chosen, _: luminance(chosen).expand_as(chosen))
    if augmentation.blur > 0:
        x = _on(parameters.blur, x, gaussian_blur, parameters.sigma, kernel=blur_kernel(x.shape[-1]))
    if augmentation.solarize > 0:
        x = _on(parameters.solarize, x, lambda chosen, _: torch.where(chosen >= 128 / 255, 1 - chosen, chosen))
    return x


def jitter(x: Tensor, parameters: ViewParameters) -> Tensor:
    """Brightness, contrast, saturation and hue of each sample in an order of its own. May write into ``x``."""
    steps = (brightness, contrast, saturation, hue) if x.shape[1] == 3 else (brightness, contrast)
    for turn in parameters.order.T:
        for kind in np.unique(turn[parameters.jitter & (turn < len(steps))]):
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
    places = constant((0.0, 1 / 3, 2 / 3), x.device, x.dtype).view(1, 3, 1, 1)
    away = circle - (places - shift)
    away.sub_(away.round()).abs_()
    return torch.rsub(away, 2, alpha=6).clamp_(0, 1).mul_(chroma).add_(low)


def luminance(x: Tensor) -> Tensor:
    """[N, 1, H, W] by ITU-R 601-2; of other images than RGB the mean of their channels."""
    if x.shape[1] != 3:
        return x.mean(dim=1, keepdim=True)
    red, green, blue = x.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def gaussian_blur(x: Tensor, sigma: Tensor, kernel: int, block: int = BLOCK) -> Tensor:
    """Gaussian of ``sigma`` px, cut to ``kernel`` taps, mirrored at the border; separable: B image B^T.

    A product with a band matrix does ten times the work of a convolution and takes a seventh of its time on a CPU. Of
    large images it computes ``block`` pixels at a time, from those that the band reaches: half the time again.
    """
    height, width = x.shape[2:]
    rows = blur_matrix(sigma.flatten(), height, kernel)[:, None]
    columns = rows if width == height else blur_matrix(sigma.flatten(), width, kernel)[:, None]
    columns = columns.transpose(2, 3)
    across = [x[..., reach] @ columns[:, :, reach, pixels] for pixels, reach in blur_blocks(width, kernel, block)]
    x = torch.cat(across, dim=3)
    down = [rows[:, :, pixels, reach] @ x[:, :, reach] for pixels, reach in blur_blocks(height, kernel, block)]
    return torch.cat(down, dim=2)


def blur_blocks(size: int, kernel: int, block: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of pixels, and the pixels that each depends on."""
    for start in range(0, size, block):
        stop = min(start + block, size)
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
