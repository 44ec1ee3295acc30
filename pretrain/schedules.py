"""What changes over a training: factors of the learning rate and of the group regularisation, per iteration."""

import math


def warmup_cosine(iteration: int, iterations: int, warmup: int = 0) -> float:
    """Factor of the learning rate: linear from 0 over ``warmup`` iterations, then from 1 down to 0 on a half cosine.

    Loshchilov and Hutter, "SGDR" (ICLR 2017), without restarts; the warm-up as MoCo v3 (ICCV 2021) trains ViTs.

    >>> [round(warmup_cosine(t, 110, 10), 2) for t in (0, 5, 10, 60, 110)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if iteration < warmup:
        return iteration / warmup
    return 0.5 * (1 + math.cos(math.pi * (iteration - warmup) / (iterations - warmup)))


def ramp(progress: float, span: tuple[float, float] | None) -> float:
    """Factor of alpha: 0 up to the first share of the training, 1 from the second on, linear between; None: always 1.

    Two equal shares are a jump, 1 from that share on.

    >>> [ramp(p, (0, 0.5)) for p in (0, 0.25, 0.5, 1)]
    [0.0, 0.5, 1.0, 1.0]
    >>> [ramp(p, (0.5, 0.5)) for p in (0, 0.49, 0.5, 1)]
    [0.0, 0.0, 1.0, 1.0]
    """
    if span is None:
        return 1.0
    start, end = span
    if start == end:
        return float(progress >= start)
    return min(1.0, max(0.0, (progress - start) / (end - start)))
