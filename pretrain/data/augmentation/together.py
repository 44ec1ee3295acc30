"""The colours of a whole batch, all views at once, in few operations and without a wait: for GPUs.

``colour.py`` picks out the samples of each step in turn, some sixteen times, and sends their numbers to the device
each time. Here the numbers of all go at once. Brightness, contrast and saturation are one and the same step,

    x <- clamp(keep * x + own * luminance(x) + common * mean(luminance(x)), 0, 1),

and so is grayscale. Each sample takes hue and three such steps in an order of its own: sorted by when its hue is due,
those that blend before it and those that blend after it are neighbours. What a sample becomes is the same, bit for bit
on a CPU, but for the blur, whose products have other shapes.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pretrain.common.devices import constant, sent
from pretrain.data.augmentation.colour import blur_kernel, gaussian_blur, hue, luminance
from pretrain.data.augmentation.parameters import ViewParameters

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def colours_together(
    images: Tensor, parameters: list[ViewParameters], mean: list[float], std: list[float]
) -> list[Tensor]:
    """uint8 [N, V, 3, S, S] -> V views, coloured and normalised, float [N, 3, S, S] in channels_last.

    parameters: of the N samples, for each view.
    """
    count = len(images)
    plan = Rows.of(parameters, count)
    floats, rows = sent(torch.from_numpy(plan.floats), images.device), sent(torch.from_numpy(plan.rows), images.device)
    floats = floats[..., None, None, None]
    x = images.flatten(0, 1).index_select(0, rows[0]).to(floats.dtype).div_(255)
    jittered, starts = plan.jittered, plan.starts
    for turn in range(3):
        _blend(x[starts[turn + 1] : jittered], floats[3 * turn : 3 * turn + 3, starts[turn + 1] : jittered])
    if jittered:
        x[:jittered] = hue(x[:jittered], floats[9, :jittered])
    for turn in range(3):
        _blend(x[: starts[turn + 1]], floats[3 * turn : 3 * turn + 3, : starts[turn + 1]])
    if plan.grayscale:
        light = luminance(x).mul_(floats[10])
        x = x.mul_(1 - floats[10]).add_(light)
    if plan.blurred:
        chosen = x.index_select(0, rows[2, : plan.blurred])
        sigma = floats[12, : plan.blurred]
        x = torch.cat([x, gaussian_blur(chosen, sigma, blur_kernel(x.shape[-1]), block=x.shape[-1])])
    x = x.index_select(0, rows[1])
    if plan.solarize:
        x = torch.where((x >= 128 / 255) & (floats[11] > 0), 1 - x, x)
    result = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    offset, scale = (constant(tuple(values), x.device, x.dtype).view(1, 3, 1, 1) for values in (mean, std))
    return list(torch.sub(x, offset, out=result).div_(scale).split(count))


class Rows(NamedTuple):
    """What the device is told of V views of N samples, M = V N rows in all, the jittered ones first.

    floats: [13, M]: three times (keep, own, common), then hue's shift and grayscale by row; whether to solarize by
    sample in the order of the result; sigma of the blurred rows. rows: int64 [3, M]: which image each row is, which row
    each sample of the result is (a blurred one follows the M rows), which rows are blurred.
    jittered: so many rows. starts[k]: the first row whose hue is due after ``k`` steps or later. grayscale, solarize:
    whether any is. blurred: so many rows.
    """

    floats: np.ndarray
    rows: np.ndarray
    jittered: int
    starts: list[int]
    grayscale: bool
    solarize: bool
    blurred: int

    @classmethod
    def of(cls, parameters: list[ViewParameters], count: int) -> "Rows":
        drawn = ViewParameters.joined(parameters)
        total = len(drawn.jitter)
        due = np.where(drawn.jitter, (drawn.order == HUE).argmax(axis=1), 4)  # 4: no jitter at all
        order = np.argsort(due, kind="stable")  # row -> sample of the result
        ordered, due = drawn[order], due[order]
        number = default_numpy()
        floats, rows = np.zeros((13, total), dtype=number), np.zeros((3, total), dtype=np.int64)
        kinds = ordered.order[ordered.order != HUE].reshape(total, 3)
        for turn, kind in enumerate(kinds.T):
            factor = ordered.factors[np.arange(total), kind].astype(number)
            floats[3 * turn] = factor
            floats[3 * turn + 1] = np.where(kind == SATURATION, 1 - factor, 0)
            floats[3 * turn + 2] = np.where(kind == CONTRAST, 1 - factor, 0)
        floats[9], floats[10], floats[11] = ordered.factors[:, HUE], ordered.grayscale, drawn.solarize
        blurred = np.flatnonzero(ordered.blur)
        floats[12, : len(blurred)], rows[2, : len(blurred)] = ordered.sigma[blurred], blurred
        sample, view = order % count, order // count
        rows[0] = sample * len(parameters) + view
        place = np.arange(total)
        place[blurred] = total + np.arange(len(blurred))
        rows[1, order] = place
        starts = [int(np.searchsorted(due, turn)) for turn in range(4)]
        jittered = int(drawn.jitter.sum())
        return cls(floats, rows, jittered, starts, drawn.grayscale.any(), drawn.solarize.any(), len(blurred))


def default_numpy() -> type:
    """numpy's name of torch's default number format: factors are rounded to it before they are subtracted from 1."""
    return {torch.float32: np.float32, torch.float64: np.float64}[torch.get_default_dtype()]


def _blend(x: Tensor, weights: Tensor) -> None:
    """One step in place. x: [n, 3, S, S]. weights: keep, own and common, [3, n, 1, 1, 1]."""
    if not len(x):
        return
    keep, own, common = weights
    light = luminance(x)
    mean = light.mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64).to(x)
    x.mul_(keep).add_(light.mul_(own).add_(mean.mul_(common))).clamp_(0, 1)
