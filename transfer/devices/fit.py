"""Latency of any width from measurements at few: a line in what a width costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True)
class LatencyFit:
    """ms(w) = sum of ``weights`` times (1, w, MACs(w) / MACs(1)), none below 0: overhead, memory traffic, arithmetic.

    Activations grow with w, multiply-accumulates with about w squared, so that ms never falls with the width.
    """

    weights: tuple[float, float, float]
    macs: Callable[[float], float]

    def __call__(self, width: float) -> float:
        return float(np.dot(self.weights, _terms(width, self.macs)))


def fit(measured: dict[float, float], macs: Callable[[float], float]) -> LatencyFit:
    """Least squares of the relative error. measured: milliseconds by width. macs: of a width, at any scale."""
    largest = macs(max(measured))

    def share(width: float) -> float:
        return macs(width) / largest

    rows = np.array([np.array(_terms(width, share)) / ms for width, ms in measured.items()])
    weights, _ = nnls(rows, np.ones(len(rows)))
    return LatencyFit(tuple(float(w) for w in weights), share)


def _terms(width: float, share: Callable[[float], float]) -> tuple[float, float, float]:
    return 1.0, width, share(width)


def spread(widths: Sequence[float], count: int) -> list[float]:
    """``count`` of the sorted widths, the ends among them, as evenly apart as they lie."""
    ends = np.linspace(widths[0], widths[-1], count)
    return sorted({min(widths, key=lambda width: abs(width - end)) for end in ends})
