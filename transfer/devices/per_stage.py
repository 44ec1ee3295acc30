"""Plans of channels by stage under a budget, beside the widths: a small evolution, judged on validation images.

As Cai et al., "Once-for-all" (ICLR 2020), search sub-networks: the best plans so far are crossed and changed, and
children beyond the budget are never judged. A plan is judged by kNN on training images with statistics of a few
batches. What is shown in the end has the statistics that calibration would write, and kNN accuracy on test images,
which decide nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from pretrain.common.errors import UserError
from pretrain.common.files import append_line, make_folder, read_lines, write_json
from pretrain.common.randomness import generator
from pretrain.data.images.datasets import image_dataset
from pretrain.knn import knn_scores, neighbours
from pretrain.recalibrate import pretraining_batches, recorded_data
from pretrain.slimmable.calibrate import calibrate
from pretrain.slimmable.extract import extract
from pretrain.slimmable.norms.statistics import batch_norms
from pretrain.slimmable.plans import bounds, plan
from pretrain.slimmable.widths import FOUR_WIDTHS, Plan, round_channels
from transfer.devices.budget import Budget, within
from transfer.devices.choose import Times, candidates, costs, timed
from transfer.results import settings_hash
from transfer.source import Source
from transfer.validation import Validation, drawn, features_by_torch

BANK, QUERIES, TEST = 2000, 2000, 5000  # images: kNN's, those that judge plans, and those that are only reported
BATCHES = 4  # of calibration, for a plan that is judged
PARENTS, STEP = 8, 8  # plans that have children; channels between two plans
FILLED = 0.7  # of the tightest budget, that a random plan has to use
TRIES = 200


@dataclass
class Search:
    """The plans of ``source`` that were judged, and the means to judge others.

    seen: images. folder: keeps every judgement (``plans.jsonl``), so that a search that is started again goes on.
    cost: of a width or plan by the names of ``budget.UNITS``. top1: kNN accuracy in percent by plan.
    """

    source: Source
    budget: Budget
    seen: Validation
    folder: Path
    cost: Callable[[float], dict[str, float]]
    say: Callable[[str], None] = print
    top1: dict[float, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        net, seen = self.source.net, self.seen
        self.limits = bounds(net.backbone, *net.width_range)
        facts = {"weights": net.hash, "images": seen.digest, "judge": seen.judge}
        self.identity = settings_hash({**facts, "batches": BATCHES})
        lines = read_lines(self.folder / "plans.jsonl")
        self.known = {line.get("plan"): line.get("top1") for line in lines if line.get("of") == self.identity}
        self._batches: list[Tensor] = []

    def plan(self, stages: Sequence[int]) -> Plan:
        net = self.source.net
        return plan(net.backbone, tuple(int(count) for count in stages), *net.width_range)

    def used(self, chosen: float) -> float:
        """The largest share of a limit that a plan costs."""
        cost = self.cost(chosen)
        return max(cost[name] / most for name, most in self.budget.limits.items())

    def judge(self, chosen: Plan) -> float:
        """Its kNN accuracy; from here on it is one of those that were searched."""
        if chosen not in self.top1:
            self.top1[chosen] = self.accuracy(chosen)
            self.say(f"{len(self.top1)}: {chosen} kNN {self.top1[chosen]:.2f} %")
        return self.top1[chosen]

    def accuracy(self, chosen: float) -> float:
        """kNN accuracy of a plan or width in percent, from the folder where it stands there."""
        name = f"{chosen:g}"
        if name not in self.known:
            self.known[name] = self.measure(chosen)
            append_line(self.folder / "plans.jsonl", {"plan": name, "top1": self.known[name], "of": self.identity})
        return self.known[name]

    def of_width(self, width: float) -> Plan:
        """The plan whose stages round as ``width``'s do. Its network is the width's, but for bottlenecks, which a width
        rounds by themselves."""
        counts = (round_channels(full, width) for full in self.source.net.backbone.stage_channels)
        return self.plan([min(max(c, low), high) for c, (low, high) in zip(counts, self.limits, strict=True)])

    def same(self, width: float) -> float:
        """``of_width`` where its network is the width's, else the width itself."""
        channels, found = self.source.net.backbone.channels, self.of_width(width)
        return found if channels(found) == channels(width) else width

    def measure(self, chosen: float) -> float:
        """What ``accuracy`` remembers: calibrated on pretraining's images, judged on the validation images."""
        backbone, moments = self.source.net.backbone, {}
        channels = backbone.channels(chosen)
        if batch_norms(backbone):
            if not self._batches:
                every = pretraining_batches(self.source.net, self.source.path.parent)
                self._batches = [batch for batch, _ in zip(every, range(BATCHES))]
            moments = calibrate(backbone, self._batches, [chosen])[channels.key]
        return self.seen.top1(*features_by_torch(extract(backbone, channels, moments), self.seen))

    def evolve(self, first: Sequence[Plan], evaluations: int, seed: int) -> None:
        """Judge ``evaluations`` plans within the budget: ``first``, random ones, then children of the best."""
        rng = generator("plans", seed)
        for chosen in first:
            self.judge(chosen)
        while len(self.top1) < min(evaluations, 2 * PARENTS):
            if (chosen := self._new(lambda: self._random(rng), FILLED)) is None:
                break
            self.judge(chosen)
        while len(self.top1) < evaluations:
            best = sorted(self.top1, key=lambda found: (-self.top1[found], found.name))[:PARENTS]
            if (chosen := self._new(lambda best=best: self._child(best, rng), 0.0)) is None:
                self.say("no other plan near the best keeps within the budget")
                return
            self.judge(chosen)

    def _new(self, draw: Callable[[], Plan], least: float) -> Plan | None:
        """The first plan of ``draw`` that was not judged and uses from ``least`` to all of the budget."""
        for _ in range(TRIES):
            chosen = draw()
            if chosen not in self.top1 and least <= self.used(chosen) <= 1:
                return chosen
        return None

    def _random(self, rng: np.random.Generator) -> Plan:
        return self.plan([low + STEP * rng.integers((high - low) // STEP + 1) for low, high in self.limits])

    def _child(self, parents: list[Plan], rng: np.random.Generator) -> Plan:
        """Each stage from one of two parents, then changed by a step or two with a chance of a half."""
        one, two = (parents[rng.integers(len(parents))] for _ in range(2))
        stages = np.where(rng.random(len(one.stages)) < 0.5, one.stages, two.stages)
        change = STEP * rng.integers(-2, 3, len(stages)) * (rng.random(len(stages)) < 0.5)
        return self.plan([min(max(c, low), high) for c, (low, high) in zip(stages + change, self.limits)])


@dataclass
class Candidate:
    """One line of the front. found: a width or plan. validation, test: kNN accuracy in percent, None without images.
    right: bool [N], which test images."""

    found: float
    cost: dict[str, float]
    validation: float
    test: float | None = None
    right: Tensor | None = None


@dataclass
class Searched:
    """plan: the best by validation images; uniform: the best width within the budget. rows: the plans that no other
    beats in both MACs and accuracy, and the widths. gain: points of ``plan`` over ``uniform`` on test images, and its
    standard error."""

    plan: Candidate
    uniform: Candidate
    rows: list[Candidate]
    gain: tuple[float, float] | None

    @property
    def answer(self) -> Candidate:
        """The plan, or the width where no plan is better on validation images."""
        return self.plan if self.plan.validation > self.uniform.validation else self.uniform


def search(
    source: Source, budget: Budget, seen: Validation, image_size: int, folder: Path, evaluations: int = 60,
    seed: int = 0, times: Times | None = None, int8: bool = False, say: Callable[[str], None] = print,
) -> Searched:  # fmt: skip
    """The best plan by stage under ``budget``, and the front against the widths.

    times: of the device; needed for a budget of latency, which is fitted over widths and checked at the answer.
    Errors: UserError for images without labels, a backbone without plans, and a budget that nothing meets.
    """
    if not seen.classes:
        raise UserError(f"the images of {seen.name} have no labels; expected some, by which plans are judged")
    make_folder(folder)
    widths, predict, measured = candidates(source), None, {}
    bounds(source.net.backbone, *source.net.width_range)
    if budget.latency is not None:
        predict, measured, _ = timed(source, widths, image_size, times, say)

    fixed: dict[float, dict[str, float]] = {}  # counting operations takes longer than all else but judging

    def cost(found: float) -> dict[str, float]:
        if found not in fixed:
            fixed[found] = costs(source, found, image_size, int8, None)
        return fixed[found] | ({"latency": measured.get(found, predict(found))} if predict else {})

    hunt = Search(source, budget, seen, folder, cost, say)
    kept = within(budget, widths, cost)
    uniform = list(dict.fromkeys([*kept[:2], *FOUR_WIDTHS]))
    first = [hunt.of_width(width) for width in uniform if width in kept]
    hunt.evolve([found for found in first if hunt.used(found) <= 1], evaluations, seed)
    if predict:
        drop_slow(hunt, {hunt.same(width) for width in uniform}, predict, times, measured)
    best = best_uniform(hunt, widths, uniform, times if predict else None, measured)
    same = {hunt.same(width) for width in uniform}
    chosen = best_of(hunt, same)
    front = nondominated({found: (cost(found)["macs"], top1) for found, top1 in hunt.top1.items()})
    shown = dict.fromkeys([chosen, *(found for found in front if found not in same)][:6])
    rows = [Candidate(found, cost(found), hunt.judge(found)) for found in shown]
    rows += [Candidate(width, cost(width), hunt.accuracy(hunt.same(width))) for width in uniform]
    tested(source, rows, seen, image_size)
    uniformly = next(row for row in rows if row.found == best)
    return Searched(rows[0], uniformly, sorted(rows, key=lambda row: row.cost["macs"]), gain(rows[0], uniformly))


def best_uniform(
    hunt: Search, widths: list[float], uniform: list[float], times: Times | None, measured: dict[float, float]
) -> float:
    """The most accurate width of ``uniform`` within the budget. With ``times`` it was timed: one that is above the
    budget gives way, and the widest of ``widths`` that then keeps within joins ``uniform``."""
    while True:
        kept = within(hunt.budget, widths, hunt.cost)
        uniform += [width for width in kept[:1] if width not in uniform]
        best = max((width for width in uniform if width in kept), key=lambda width: hunt.accuracy(hunt.same(width)))
        if times is None or best in measured:
            return best
        expected = hunt.cost(best)["latency"]
        measured |= times([best])
        hunt.say(f"width {best:g}: {measured[best]:.2f} ms, the fit said {expected:.2f}")


def drop_slow(
    hunt: Search, uniform: set[Plan], predict: Callable[[float], float], times: Times, measured: dict[float, float]
) -> None:
    """Time the best plan, and where it is above the budget drop it and time the next; ``measured`` takes what is found.

    predict: what the fit over widths says, in milliseconds.
    """
    while True:
        best = best_of(hunt, uniform)
        measured |= times([best])
        hunt.say(f"{best}: {measured[best]:.2f} ms, the fit said {predict(best):.2f}")
        if measured[best] <= hunt.budget.latency:
            return
        del hunt.top1[best]


def best_of(hunt: Search, uniform: set[Plan]) -> Plan:
    """The most accurate plan that is no width's; UserError where none is left."""
    found = [chosen for chosen in hunt.top1 if chosen not in uniform]
    if not found:
        raise UserError("no plan by stage keeps within the budget beside the widths; expected a larger one")
    return max(found, key=lambda chosen: (hunt.top1[chosen], -hunt.cost(chosen)["macs"], chosen.name))


def nondominated(points: dict[Plan, tuple[float, float]]) -> list[Plan]:
    """Those of which no other costs less and is at least as accurate, by falling cost. points: (cost, accuracy)."""
    found, best = [], -np.inf
    for chosen, (_, top1) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if top1 > best:
            found.append(chosen)
            best = top1
    return found[::-1]


def tested(source: Source, rows: list[Candidate], seen: Validation, image_size: int) -> None:
    """Fill in the rows' accuracy on test images, with full calibration; nothing where there are none."""
    recorded, data = recorded_data(source.path.parent), source.metadata["data"]
    try:
        dataset = image_dataset(
            data["name"], recorded.get("root"), "test", image_size, channels=source.net.backbone.input_channels
        )
    except UserError:
        return
    if seen.name != data["name"] or len(dataset.classes) != seen.classes:
        return
    source.check_widths([row.found for row in rows])
    order = generator("test", 0).permutation(len(dataset))[:TEST].tolist()
    images, labels = drawn(dataset, order, image_size)
    at_test = Validation(seen.name, seen.bank, seen.bank_labels, images, labels, seen.classes, seen.mean, seen.std)
    for row in rows:
        bank, queries = features_by_torch(source.net.extract(row.found), at_test)
        scores = knn_scores(bank, seen.bank_labels, queries, seen.classes, neighbours(len(bank)))
        row.right = scores.argmax(dim=1) == labels
        row.test = 100 * row.right.double().mean().item()


def gain(plan: Candidate, uniform: Candidate) -> tuple[float, float] | None:
    """Points of one over another, paired by image, and the standard error; None without test images."""
    if plan.right is None or uniform.right is None:
        return None
    difference = 100 * (plan.right.double() - uniform.right.double())
    return difference.mean().item(), (difference.std() / len(difference) ** 0.5).item()


def record(found: Searched) -> dict:
    """What was found, as JSON says it; ``plan`` is what ``--width`` reads from the file."""
    rows = [
        {"name": f"{row.found:g}", **row.cost, "validation_top1": row.validation, "test_top1": row.test}
        for row in found.rows
    ]
    return {
        "plan": f"{found.plan.found:g}", "uniform": f"{found.uniform.found:g}", "answer": f"{found.answer.found:g}",
        "gain": found.gain and found.gain[0], "standard_error": found.gain and found.gain[1], "rows": rows,
    }  # fmt: skip


def write(found: Searched, folder: Path) -> Path:
    """``folder/per_stage.json``."""
    return write_json(folder / "per_stage.json", record(found))


def table(found: Searched) -> str:
    """The front for people."""
    lines = [
        "| plan or width | M MACs | M parameters | kNN validation % | kNN test % |",
        "| --- | --: | --: | --: | --: |",
    ]
    for row in found.rows:
        test = "–" if row.test is None else f"{row.test:.2f}"
        lines.append(
            f"| {row.found:g} | {row.cost['macs']:.3f} | {row.cost['params']:.4f} | {row.validation:.2f} | {test} |"
        )
    return "\n".join(lines)
