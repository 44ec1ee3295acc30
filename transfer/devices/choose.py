"""The best width under a budget: costs are known or fitted, accuracy is measured, and the answer is timed itself."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from pretrain.common.errors import UncalibratedWidthError, UserError
from pretrain.slimmable.widths import FOUR_WIDTHS
from transfer.devices.budget import Budget, within
from transfer.devices.fit import LatencyFit, fit, spread
from transfer.source import Source
from transfer.validation import Validation, features_by_torch

MEASURED, HELD_OUT, SCORED = 4, 2, 3  # widths that are fitted, that check the fit, and whose accuracy is measured
Times = Callable[[Sequence[float]], dict[float, float]]  # widths -> milliseconds of one image


@dataclass
class Choice:
    """width: the answer. cost: of it, by the names of ``budget.UNITS``. top1: accuracy on validation images, in
    percent, of every width that was scored; None without labels. times: what was measured, milliseconds by width.
    checked: relative error of the fit at the answer and the held-out widths."""

    width: float
    cost: dict[str, float]
    top1: dict[float, float | None]
    times: dict[float, float]
    checked: dict[float, float]

    def record(self) -> dict:
        """The choice as JSON says it."""
        return {
            **asdict(self),
            **{n: {f"{w:g}": v for w, v in getattr(self, n).items()} for n in ("top1", "times", "checked")},
        }


def candidates(source: Source) -> list[float]:
    """One width for each distinct sub-network, ascending."""
    return source.net.backbone.width_space(*source.net.width_range).short_names()


def probes(widths: Sequence[float]) -> tuple[list[float], list[float]]:
    """Widths to fit, and others between them to check the fit at."""
    fitted = spread(widths, MEASURED)
    between = [(a + b) / 2 for a, b in zip(fitted, fitted[1:])]
    rest = [width for width in widths if width not in fitted]
    middles = between[:: max(1, len(between) - 1)][:HELD_OUT]
    held = {min(rest, key=lambda width: abs(width - middle)) for middle in middles} if rest else set()
    return fitted, sorted(held)


def choose(
    source: Source, budget: Budget, seen: Validation, image_size: int, times: Times | None = None, int8: bool = False,
    again: bool = True, say: Callable[[str], None] = print,
) -> Choice:  # fmt: skip
    """The most accurate of the scored widths that keep within ``budget``, the narrower of equals; without labels the
    widest.

    times: of the device; needed for a budget of latency. again: the answer can be timed too, and one that is found
    above the budget gives way to a narrower one; else only the fit speaks for it.
    Errors: UserError where no width keeps within the budget.
    """
    widths = candidates(source)
    predict, measured, checked = None, {}, {}
    if budget.latency is not None:
        predict, measured, checked = timed(source, widths, image_size, times, say)

    def cost(width: float) -> dict[str, float]:
        return costs(source, width, image_size, int8, measured.get(width, predict(width)) if predict else None)

    top1: dict[float, float | None] = {}
    while True:
        kept = within(budget, widths, cost)
        scored(source, kept, seen, top1, say)
        width = max((w for w in kept if w in top1), key=lambda w: (top1[w], -w) if seen.classes else (0.0, w))
        if predict is None or not again or width in measured:
            return Choice(width, cost(width), top1, measured, checked)
        expected = predict(width)
        measured |= times([width])
        checked[width] = measured[width] / expected - 1
        say(f"width {width:g}: {measured[width]:.2f} ms, the fit said {expected:.2f}")


def timed(
    source: Source, widths: Sequence[float], image_size: int, times: Times, say: Callable[[str], None]
) -> tuple[LatencyFit, dict[float, float], dict[float, float]]:
    """The fit, the measured milliseconds, and the fit's relative error at the held-out widths."""
    fitted, held = probes(widths)
    measured = times([*fitted, *held])
    predict = fit({w: measured[w] for w in fitted}, lambda width: source.net.cost(width, image_size).macs)
    checked = {width: measured[width] / predict(width) - 1 for width in held}
    errors = ", ".join(f"{error:+.1%} at {width:g}" for width, error in checked.items())
    say(f"latency is fitted at {', '.join(f'{w:g}' for w in fitted)}; measured beside the fit: {errors or 'none'}")
    return predict, measured, checked


def costs(source: Source, width: float, image_size: int, int8: bool, latency: float | None) -> dict[str, float]:
    """What a width costs, by the names of ``budget.UNITS``."""
    spent = source.net.cost(width, image_size)
    found = {"macs": spent.macs / 1e6, "params": spent.params / 1e6}
    found["megabytes"] = found["params"] * (1 if int8 else 4)
    return found if latency is None else {**found, "latency": latency}


def scored(
    source: Source, kept: list[float], seen: Validation, top1: dict[float, float | None], say: Callable[[str], None]
) -> None:
    """Add to ``top1`` the accuracy of ``SCORED`` of the widths ``kept``: the widest, then calibrated ones, then
    the usual. A width without statistics gets them where the pretraining's images are there, else it is left out.

    Errors: UserError if none can be used.
    """
    known = [width for width in kept if source.net.is_calibrated(width)]
    usual = [width for width in FOUR_WIDTHS if width in kept]
    for width in list(dict.fromkeys([kept[0], *known, *usual])):
        if sum(w in top1 for w in kept) >= SCORED:
            return
        if width in top1:
            continue
        try:
            source.check_widths([width])
        except UncalibratedWidthError as error:
            say(f"width {width:g} is left out: {error}")
            continue
        top1[width] = None
        if seen.classes:
            top1[width] = seen.top1(*features_by_torch(source.net.extract(width), seen))
            say(f"width {width:g}: {seen.judge} {top1[width]:.2f} % on {len(seen.queries)} images of {seen.name}")
    if not any(width in top1 for width in kept):
        raise UserError(
            "no width within the budget is calibrated; expected first: "
            f"tools/calibrate.py {source.path or 'RUN'} --widths {kept[0]:g}"
        )
