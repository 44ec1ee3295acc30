"""Everything random in training is a pure function of (seed, epoch, iteration, sample): no generator state to save."""

import numpy as np

PURPOSES = ("widths", "order", "views", "calibration", "weights")


def generator(purpose: str, *numbers: int) -> np.random.Generator:
    """A fresh generator for one purpose, e.g. ``generator("order", seed, epoch)``; purposes never share a stream."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([PURPOSES.index(purpose), *numbers])))


def torch_seed(purpose: str, *numbers: int) -> int:
    """A seed for torch's generators, as well mixed as ``generator``."""
    return int(np.random.SeedSequence([PURPOSES.index(purpose), *numbers]).generate_state(1, np.uint64)[0] >> 1)
