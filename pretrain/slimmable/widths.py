"""Widths and channels: one rounding for the layers, the cost counter, the extractor and the converters.

US3L (CVPR 2023), section 3.1: at width w a layer of C channels uses its first c(w) = round_channels(C, w).
"""

from bisect import bisect_right
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from numbers import Real
from typing import Annotated

from pydantic import Field

from pretrain.common.errors import UserError
from pretrain.common.randomness import generator

WIDTH_MIN, WIDTH_MAX = 0.25, 1.0
Width = Annotated[float, Field(ge=WIDTH_MIN, le=WIDTH_MAX)]
FOUR_WIDTHS = (1.0, 0.75, 0.5, 0.25)  # the columns of Tables 1 and 3 to 6
NINE_WIDTHS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25)  # the columns of Tables 2 and 7 to 9
TEN_WIDTHS = (1.0, 0.9, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25)  # those of all tables, which are calibrated


def round_channels(channels: int, width: float, divisor: int = 8) -> int:
    """c(w): ``channels * width`` rounded half up to a multiple of ``divisor``, at least ``divisor``.

    Where that lost more than 10 % of the channels, one ``divisor`` is added.

    >>> [round_channels(64, w) for w in (1.0, 0.9, 0.25)]
    [64, 56, 16]
    """
    exact = channels * width
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * exact else rounded


def check_width(width: float, low: float = WIDTH_MIN, high: float = WIDTH_MAX) -> float:
    """``width`` itself if it is a number in [low, high], else a UserError."""
    if not isinstance(width, Real):
        raise UserError(f"expected a width from {low:g} to {high:g}, got {width!r}")
    if not low <= width <= high:
        raise UserError(f"width {width:g} is outside the range {low:g} to {high:g}")
    return width


class Plan(float):
    """Channels of each stage, taken wherever a width is (``pretrain.slimmable.plans`` makes and checks them).

    As a number it is the mean share of the stages' channels: for the order of widths and for fits, never for channels.
    It equals no width, and formats as its name. name: e.g. ``r18-24.40.64.160``. stages: the channels.
    """

    def __new__(cls, name: str, stages: tuple[int, ...], share: float) -> "Plan":
        made = super().__new__(cls, share)
        made.name, made.stages = name, stages
        return made

    def __reduce__(self) -> tuple:
        return Plan, (self.name, self.stages, float(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.name == other.name

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.name)

    def __format__(self, spec: str) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class WidthSpace:
    """The distinct sub-networks of a backbone: intervals of widths that share one channel tuple.

    Drawing an interval by its length is the same distribution over sub-networks as a uniform width, and
    bounds how many shapes a compiler, an autotuner or a cache ever sees (90 for ResNet-18, 378 for ResNet-50).

    edges: lower ends of the intervals, ascending; the first is the smallest width.
    names: one canonical width per interval, the one that ``snap`` returns.
    """

    edges: tuple[float, ...]
    names: tuple[float, ...]
    low: float
    high: float

    @classmethod
    def of(
        cls,
        plan: Callable[[float], Hashable],
        base_channels: set[int],
        low: float = WIDTH_MIN,
        high: float = WIDTH_MAX,
        divisor: int = 8,
    ) -> "WidthSpace":
        """Cut [low, high] wherever ``plan(width)`` changes.

        plan: the channel tuple of a width. base_channels: the full-width channel counts that it rounds.
        """
        if low == high:
            return cls((low,), (high,), low, high)
        cuts = {low, high}
        for channels in base_channels:
            for k in range(1, channels // divisor + 1):
                cuts.add((k + 0.5) * divisor / channels)  # half up
                cuts.add(k * divisor / (0.9 * channels))  # the 10 % rule
        points = sorted(c for c in cuts if low <= c <= high)
        edges: list[float] = []
        last = None
        for left, right in zip(points, points[1:], strict=False):
            here = plan((left + right) / 2)
            if here != last:
                edges.append(left)
                last = here
        ends = [*edges[1:], high]
        names = [round((a + b) / 2, 6) for a, b in zip(edges, ends, strict=True)]
        names[0] = low
        if plan(high) == last:
            names[-1] = high
        else:  # it rounds up where the interval below it does not: it is there, and by length never drawn
            edges, names = [*edges, high], [*names, high]
        return cls(tuple(edges), tuple(names), low, high)

    def __len__(self) -> int:
        return len(self.edges)

    def coarser(self, step: float) -> "WidthSpace":
        """Only the widths high, high - step, … and low, each drawn for the widths that it is the nearest of.

        Errors: UserError for a step that is not above 0.
        """
        if not step > 0:
            raise UserError(f"a grid of widths {step:g} apart; expected a number above 0")
        points = [self.high - step * k for k in range(int((self.high - self.low) / step + 1e-9) + 1)][::-1]
        points = points if points[0] - self.low < 1e-9 else [self.low, *points]
        names = list(dict.fromkeys(self.snap(min(max(point, self.low), self.high)) for point in points))
        edges = [self.low, *((a + b) / 2 for a, b in zip(names, names[1:]))]
        return WidthSpace(tuple(edges), tuple(names), self.low, self.high)

    def snap(self, width: float) -> float:
        """The canonical width of the interval that holds ``width``."""
        check_width(width, self.low, self.high)
        return self.names[bisect_right(self.edges, width) - 1]

    def short_names(self) -> list[float]:
        """One width per interval, ascending, of as few decimals as it takes: for people."""

        def shortest(name: float) -> float:
            rounded = (round(name, digits) for digits in range(1, 7))
            return next((w for w in rounded if self.low <= w <= self.high and self.snap(w) == name), name)

        return [shortest(name) for name in self.names]

    def draw(self, count: int, low: float, high: float, seed: int, iteration: int) -> list[float]:
        """``count`` sub-networks, each as if by a uniform width of [low, high]; a pure function of its arguments.

        None is below ``low``, which is drawn in place of the grid's next lower width.
        """
        check_width(low, self.low, self.high)
        check_width(high, low, self.high)
        uniform = generator("widths", seed, iteration).uniform(low, high, count)
        return [max(low, self.snap(float(u))) for u in uniform]
