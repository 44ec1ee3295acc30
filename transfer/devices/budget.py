"""What a width may cost, and which widths keep within it."""

from collections.abc import Callable
from dataclasses import dataclass

from pretrain.common.errors import UserError

UNITS = {"latency": "ms", "macs": "M MACs", "params": "M parameters", "megabytes": "MB"}


@dataclass(frozen=True)
class Budget:
    """The most of each of ``UNITS``, None for any: milliseconds, millions of MACs, millions of parameters, megabytes of
    weights (four bytes each, or one in int8)."""

    latency: float | None = None
    macs: float | None = None
    params: float | None = None
    megabytes: float | None = None

    def __post_init__(self) -> None:
        if not self.limits:
            raise UserError("no budget given; expected --latency, --macs, --params or --megabytes, one or several")
        for name, most in self.limits.items():
            if not most > 0:
                raise UserError(f"--{name} {most:g} is no budget; expected a number above 0")

    @property
    def limits(self) -> dict[str, float]:
        """Those that are set."""
        found = {name: getattr(self, name) for name in UNITS}
        return {name: most for name, most in found.items() if most is not None}

    def exceeded(self, cost: dict[str, float]) -> list[str]:
        """The names of what is above its limit. cost: by the same names."""
        return [name for name, most in self.limits.items() if cost[name] > most]


def within(budget: Budget, widths: list[float], cost: Callable[[float], dict[str, float]]) -> list[float]:
    """Those of ``widths`` that keep all limits, widest first.

    Errors: UserError where none does; it names the width that is nearest and what that costs.
    """
    costs = {width: cost(width) for width in widths}
    kept = [width for width in sorted(widths, reverse=True) if not budget.exceeded(costs[width])]
    if not kept:
        nearest = min(widths, key=lambda width: max(costs[width][n] / most for n, most in budget.limits.items()))
        said = ", ".join(
            f"{costs[nearest][name]:.4g} {UNITS[name]} (budget {most:g})" for name, most in budget.limits.items()
        )
        raise UserError(f"no width keeps within the budget; the nearest is {nearest:g} with {said}")
    return kept
