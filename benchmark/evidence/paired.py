"""What paired runs say of two systems: the mean difference over seeds, its standard error, and a verdict.

Two runs with one seed see the same images in the same order from weights drawn alike, so the differences within pairs
vary less than the figures themselves. With d the differences of n seeds:

    mean = sum(d) / n        error = sqrt(sum((d - mean)^2) / (n - 1) / n)

The verdict is ``seen`` where the mean lies more than two errors above 0, ``contradicted`` where it lies more than two
below, ``not seen`` else; one seed has no error and no verdict.
"""

import math
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """mean: in the figures' unit. error: its standard error over seeds, None for fewer than two. seeds: how many."""

    mean: float
    error: float | None
    seeds: int

    @property
    def verdict(self) -> str:
        """``seen``, ``not seen``, ``contradicted``, or ``one seed``."""
        if self.error is None:
            return "one seed"
        if abs(self.mean) <= 2 * self.error:
            return "not seen"
        return "seen" if self.mean > 0 else "contradicted"

    def __str__(self) -> str:
        error = "" if self.error is None else f" ± {self.error:.1f}"
        return f"{self.mean:+.1f}{error} {self.verdict}"


def paired(ahead: dict[int, float], behind: dict[int, float]) -> Difference | None:
    """``ahead`` less ``behind``, figures by seed, over the seeds that both have; None where they share none.

    >>> str(paired({0: 3.0, 1: 4.0}, {0: 1.0, 1: 2.0, 2: 9.0}))
    '+2.0 ± 0.0 seen'
    """
    differences = [ahead[seed] - behind[seed] for seed in sorted(ahead.keys() & behind.keys())]
    if not differences:
        return None
    count = len(differences)
    error = statistics.stdev(differences) / math.sqrt(count) if count > 1 else None
    return Difference(statistics.fmean(differences), error, count)
