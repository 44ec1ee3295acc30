"""The search of plans by stage: within the budget, repeatable, going on where it was cut off, honest in its front."""

import itertools
import json
from dataclasses import replace

import pytest
import torch

from pretrain.common.errors import UserError
from pretrain.slimmable.widths import Plan
from pretrain.train import pretrain
from tests.pretrain.helpers import tiny_config
from transfer.devices import per_stage
from transfer.devices.budget import Budget
from transfer.devices.per_stage import Candidate, Search, Searched, best_of, gain, nondominated, search
from transfer.source import load_source
from transfer.validation import validation_images

SIZE = 16


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return pretrain(tiny_config(backbone={"base_channels": 16}), folder, False, "cpu")


@pytest.fixture(autouse=True)
def few_tries(monkeypatch):
    monkeypatch.setattr(per_stage, "TRIES", 25)


@pytest.fixture
def source(checkpoint):
    return load_source(checkpoint)


@pytest.fixture(scope="module")
def seen(checkpoint):
    return validation_images(load_source(checkpoint), SIZE, None, 20, 12)


def quiet(line: str) -> None:
    pass


def middle(source) -> Budget:
    """Half of the widest network's MACs."""
    return Budget(macs=source.net.cost(1.0, SIZE).macs / 2e6)


def test_a_search_keeps_the_budget_repeats_and_ends_with_a_front_that_was_tested(source, seen, tmp_path):
    budget = middle(source)
    found = search(source, budget, seen, SIZE, tmp_path / "a", 7, seed=3, say=quiet)
    again = search(load_source(source.path), budget, seen, SIZE, tmp_path / "b", 7, seed=3, say=quiet)
    assert per_stage.record(found) == per_stage.record(again)
    judged = [json.loads(line) for line in (tmp_path / "a/plans.jsonl").read_text().splitlines()]
    inside = [
        line for line in judged if source.net.cost(source.net.width(line["plan"]), SIZE).macs / 1e6 <= budget.macs
    ]
    assert len(inside) >= 7 and len({line["plan"] for line in judged}) == len(judged)
    assert found.plan.cost["macs"] <= budget.macs and found.uniform.cost["macs"] <= budget.macs
    assert {1.0, 0.75, 0.5, 0.25} <= {row.found for row in found.rows if isinstance(row.found, float)}
    assert all(row.test is not None for row in found.rows) and found.gain is not None
    path = per_stage.write(found, tmp_path)
    assert source.net.width(str(path)) == found.plan.found, "the file stands for the plan"
    assert f"| {found.plan.found} |" in per_stage.table(found)


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet50", {"base_channels": 8}), ("convnextv2_atto", {"patch_size": 2})],
)
def test_bottlenecks_and_networks_without_norms_are_searched_and_a_width_has_its_own_accuracy(name, options, tmp_path):
    options = {"base_channels": None, **options}
    path = pretrain(tiny_config(backbone={"name": name, **options}), tmp_path / "run", False, "cpu")
    source = load_source(path)
    images = validation_images(source, SIZE, None, 20, 12)
    found = search(source, middle(source), images, SIZE, tmp_path / "search", 6, say=quiet)
    assert found.plan.found.name.count(".") + 1 == len(source.net.backbone.stage_channels)
    hunt = Search(source, middle(source), images, tmp_path / "alone", cost=lambda found: {}, say=quiet)
    for row in found.rows:
        assert row.validation == hunt.measure(row.found)


def test_a_search_that_was_cut_off_judges_nothing_twice(source, seen, tmp_path, monkeypatch):
    whole = search(source, middle(source), seen, SIZE, tmp_path / "whole", 7, say=quiet)
    real, judged = Search.measure, []

    def cut(self, chosen):
        if len(judged) == 4:
            raise KeyboardInterrupt
        judged.append(chosen)
        return real(self, chosen)

    monkeypatch.setattr(Search, "measure", cut)
    with pytest.raises(KeyboardInterrupt):
        search(source, middle(source), seen, SIZE, tmp_path / "cut", 7, say=quiet)
    with open(tmp_path / "cut/plans.jsonl", "a") as file:
        file.write('{"plan": "r18-8')  # a line that the crash cut short
    before = list(judged)
    monkeypatch.setattr(Search, "measure", lambda self, chosen: judged.append(chosen) or real(self, chosen))
    found = search(load_source(source.path), middle(source), seen, SIZE, tmp_path / "cut", 7, say=quiet)
    assert not set(before) & set(judged[4:]), "what stood in the folder was not judged again"
    assert per_stage.record(found) == per_stage.record(whole)


def test_judgements_of_other_weights_do_not_count(source, seen, tmp_path):
    chosen = source.net.width("r18-8.16.32.64")
    budget = middle(source)
    tmp_path.joinpath("plans.jsonl").write_text(json.dumps({"plan": chosen.name, "top1": 99.0, "of": "other"}) + "\n")
    hunt = Search(source, budget, seen, tmp_path, lambda width: {"macs": 0.0}, quiet)
    assert hunt.judge(chosen) != 99.0


def test_nor_do_those_of_other_images_of_the_same_name(source, seen, tmp_path):
    def hunt(images):
        return Search(source, middle(source), images, tmp_path, lambda width: {"macs": 0.0}, quiet)

    chosen = source.net.width("r18-8.16.32.64")
    first = hunt(seen).judge(chosen)
    assert chosen.name in hunt(seen).known and chosen.name not in hunt(replace(seen, labels=seen.labels.flip(0))).known
    assert hunt(seen).accuracy(chosen) == first


def test_a_width_that_is_the_answer_is_timed_too(source, seen, tmp_path, monkeypatch):
    """Plans are no better than widths, whose fit says less than the device takes beside the fitted ones."""
    monkeypatch.setattr(Search, "measure", lambda self, chosen: 50.0 if isinstance(chosen, Plan) else 100 * chosen)
    fitted, asked = {}, []

    def times(widths):
        plain = [width for width in widths if not isinstance(width, Plan)]
        if not fitted:
            fitted.update({width: 1 + width for width in plain})
        asked.extend(width for width in plain if width not in fitted)
        return {w: fitted.get(w, 9.0) if w in plain else 1.0 for w in widths}

    found = search(source, Budget(latency=1.6), seen, SIZE, tmp_path, 7, times=times, say=quiet)
    assert asked and found.uniform.found in fitted and found.uniform.cost["latency"] <= 1.6


def test_the_front_has_every_plan_that_no_other_beats(source):
    """Independent: every pair compared."""
    torch.manual_seed(0)
    plans = [source.net.width(f"r18-{a}.{b}.64.{c}") for a, b, c in itertools.product((8, 16), (8, 32), (32, 64, 128))]
    points = {chosen: tuple(torch.randint(0, 6, (2,)).tolist()) for chosen in plans}

    def beaten(mine: tuple, other: tuple) -> bool:
        return other[0] <= mine[0] and other[1] >= mine[1] and other != mine

    expected = {points[chosen] for chosen in plans if not any(beaten(points[chosen], p) for p in points.values())}
    found = [points[chosen] for chosen in nondominated(points)]
    assert set(found) == expected and found == sorted(expected, reverse=True)


def test_the_gain_is_paired_and_no_better_plan_means_the_width():
    right = torch.tensor([True, True, False, True])
    other = torch.tensor([True, False, False, False])
    plan, width = Candidate(0.5, {}, 60.0, 75.0, right), Candidate(0.4, {}, 61.0, 25.0, other)
    more, error = gain(plan, width)
    assert more == 50 and error == pytest.approx(100 * (1 / 3) ** 0.5 / 2)
    assert Searched(plan, width, [], None).answer is width and gain(Candidate(0.5, {}, 1.0), width) is None


def test_latency_is_measured_at_the_answer_and_one_above_the_budget_gives_way(source, seen, tmp_path, monkeypatch):
    """A device on which everything takes 1 ms, and the first plan that is asked 9."""
    asked = []

    def times(widths):
        plans = [width for width in widths if not isinstance(width, float) or hasattr(width, "stages")]
        asked.extend(plans)
        return {w: 9.0 if asked and w == asked[0] else 1.0 for w in widths}

    found = search(source, Budget(latency=2.0), seen, SIZE, tmp_path, 7, times=times, say=quiet)
    assert len(asked) == 2 and found.plan.found == asked[1] and found.plan.cost["latency"] == 1.0


def test_a_budget_that_only_widths_meet_says_so(source, seen, tmp_path):
    least = source.net.cost(0.25, SIZE).macs / 1e6
    with pytest.raises(UserError, match="no plan by stage keeps within the budget beside the widths"):
        search(source, Budget(macs=least), seen, SIZE, tmp_path, 4, say=quiet)
    hunt = Search(source, Budget(macs=1.0), seen, tmp_path, lambda width: {"macs": 1.0}, quiet)
    with pytest.raises(UserError):
        best_of(hunt, set())
