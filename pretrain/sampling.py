"""Which widths run in an iteration: sandwich rule and dynamic sampling.

Yu and Huang, "Universally slimmable networks" (ICCV 2019): the sandwich rule runs the largest, the smallest and random
widths. US3L (CVPR 2023), section 3.4, adds dynamic sampling: training starts with the largest network alone and lowers
the smallest width in stages.
"""

from dataclasses import dataclass

from pretrain.config import PretrainConfig
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.widths import WidthSpace

STAGES = 4


def stage(iteration: int, iterations: int) -> int:
    """p = floor(4 t / T), 0 to 3: four stages of equal length up to rounding."""
    return STAGES * iteration // iterations


@dataclass(frozen=True)
class WidthSampler:
    """The widths of every iteration, a pure function of (seed, iteration), the same in every process.

    space: the backbone's distinct sub-networks. iterations: T. dynamic, sandwich: the two strategies.
    networks: s, how many networks run in an iteration (of stage p > 0 with ``dynamic``); by default 4, with
    ``dynamic`` 3. fixed: instead of all this, these widths in every iteration (Yu et al., "Slimmable neural
    networks", ICLR 2019).
    """

    space: WidthSpace
    iterations: int
    seed: int
    dynamic: bool = True
    sandwich: bool = True
    networks: int | None = None
    fixed: tuple[float, ...] | None = None

    @classmethod
    def of(cls, config: PretrainConfig, backbone: SlimBackbone, iterations: int) -> "WidthSampler":
        """The sampler of a run of ``iterations``."""
        space, sampling = backbone.width_space(*config.width_range), config.sampling
        return cls(
            space.coarser(sampling.grid) if sampling.grid else space, iterations, config.training.seed,
            sampling.dynamic, sampling.sandwich, sampling.networks, sampling.widths,
        )  # fmt: skip

    @property
    def sub_networks(self) -> int:
        """At most so many different ones run: all that can be drawn, and R_min of every stage."""
        return len(self.fixed) if self.fixed else len(self.space) + STAGES - 2

    @property
    def base_width(self) -> float | None:
        """The width of the largest network of every iteration; None where that is drawn, too."""
        if self.fixed:
            return max(self.fixed)
        return self.space.high if self.sandwich or self.space.low == self.space.high else None

    def smallest(self, iteration: int) -> float:
        """R_min: w_min throughout, with dynamic sampling w_max - (w_max - w_min) p / 3."""
        low, high = self.space.low, self.space.high
        if not self.dynamic:
            return low
        p = stage(iteration, self.iterations)
        return low if p == STAGES - 1 else high - (high - low) * p / (STAGES - 1)

    def count(self, iteration: int) -> int:
        """s at ``iteration``: 1 in stage 0 of dynamic sampling, else ``networks``."""
        if self.dynamic and stage(iteration, self.iterations) == 0:
            return 1
        return self.networks or (3 if self.dynamic else 4)

    def work(self, start: int, stop: int) -> float:
        """What iterations ``start`` to ``stop`` are expected to cost, in forward and backward passes at width 1.

        A pass at width w costs about w^2; the momentum encoder's forward pass, or what else each iteration does once,
        a third of one at w_max.
        """
        total = 0.0
        for p in range(STAGES):
            first, last = (-(-self.iterations * q // STAGES) for q in (p, p + 1))
            total += max(0, min(stop, last) - max(start, first)) * self._work_of_one(first)
        return total

    def _work_of_one(self, iteration: int) -> float:
        low, high, count = self.smallest(iteration), self.space.high, self.count(iteration)
        once, drawn = high**2 / 3, (low**2 + low * high + high**2) / 3  # the mean of w^2 over [low, high]
        if self.fixed:
            return once + sum(width**2 for width in self.fixed)
        if low == high:
            return once + high**2
        if not self.sandwich:
            return once + count * drawn
        return once + sum([high**2, low**2, *[drawn] * max(0, count - 2)][:count])

    def heaviest(self) -> list[float]:
        """Widths of the heaviest step that the schedule can come to, largest first: what is drawn is w_max."""
        if self.fixed:
            return sorted(self.fixed, reverse=True)
        # of the iterations with sub-networks, R_min is largest in the first: where stage 1 begins
        first = -(-self.iterations // STAGES) if self.dynamic else 0
        low, high, count = self.smallest(first), self.space.high, self.count(first)
        if low == high:
            return [high]
        sandwich = [high, low][:count] if self.sandwich else []
        return sorted([*sandwich, *[high] * (count - len(sandwich))], reverse=True)

    def widths(self, iteration: int) -> list[float]:
        """The widths of ``iteration``, largest first: the base network's, then the sub-networks'.

        With the sandwich rule: w_max, R_min and s - 2 drawn from [R_min, w_max]. Without: all s are drawn. Where R_min
        is w_max, in stage 0 or a run of one width, w_max alone.
        """
        if self.fixed:
            return sorted(self.fixed, reverse=True)
        low, high, count = self.smallest(iteration), self.space.high, self.count(iteration)
        if low == high:
            return [high]
        sandwich = [high, low][:count] if self.sandwich else []
        drawn = self.space.draw(count - len(sandwich), low, high, self.seed, iteration)
        return sorted([*sandwich, *drawn], reverse=True)
