"""Everything random in training is a pure function of (seed, epoch, iteration, sample): no generator state to save."""

import numpy as np

PURPOSES = (
    "widths",
    "order",
    "views",
    "calibration",
    "weights",
    "knn",
    "labels",
    "mixup",
    "validation",
    "plans",
    "test",
)


def generator(purpose: str, *numbers: int) -> np.random.Generator:
    """A fresh generator for one purpose, e.g. ``generator("order", seed, epoch)``; purposes never share a stream."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([PURPOSES.index(purpose), *numbers])))


def torch_seed(purpose: str, *numbers: int) -> int:
    """A seed for torch's generators, as well mixed as ``generator``."""
    return int(np.random.SeedSequence([PURPOSES.index(purpose), *numbers]).generate_state(1, np.uint64)[0] >> 1)


def uniforms(purpose: str, keys: np.ndarray, count: int) -> np.ndarray:
    """``count`` numbers of [0, 1) for every row of ``keys`` (int64 [N, K]), float64 [N, count].

    A hash of (purpose, key, position) instead of a generator per key, which would take 20 times as long. The mixing
    function is SplitMix64's: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        state = np.full(len(keys), PURPOSES.index(purpose) + 1, dtype=np.uint64)
        for column in np.asarray(keys, dtype=np.uint64).T:
            state = _mix(state * GOLDEN + column)
        streams = state[:, None] + GOLDEN * np.arange(1, count + 1, dtype=np.uint64)
        return (_mix(streams) >> np.uint64(11)) * 2.0**-53


GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
