"""Tables, verdicts and the picture of the claims, from records alone."""

import json
import re

import pytest

from benchmark.evidence.claims import CLAIMS, accuracy, claim_table, read_records, system_table
from benchmark.evidence.claims_figure import TRAINED, draw, draw_costs
from pretrain.common.errors import UserError
from pretrain.configfile import read_python


def run(system: str, seed: int, *linear: float, widths: tuple[str, ...] = ("1", "0.75", "0.5", "0.25")) -> dict:
    knn = [2 * accuracy for accuracy in linear]
    return {
        "system": system, "seed": seed,
        "linear": dict(zip(widths, linear, strict=True)), "knn": dict(zip(widths, knn, strict=True)),
        "rank": {"1": 20.0}, "pretraining_seconds": 90.0, "iterations": 100, "batch_size": 8,
        "training_flops": 2e12,
    }  # fmt: skip


RECORDS = [
    run("us3l", 0, 40, 39, 38, 37), run("us3l", 1, 42, 41, 40, 39),
    run("us_simclr", 0, 39, 39, 39, 39), run("us_simclr", 1, 40.5, 41, 41, 42),
    run("simclr_025", 0, 30, widths=("0.25",)),
]  # fmt: skip


def cells(table, *labels: str) -> list[str]:
    (found,) = [row for names, row in table.rows if tuple(names[: len(labels)]) == labels]
    return [str(cell) for cell in found]


def test_every_system_of_a_claim_is_a_row_of_the_config(repository):
    rows = read_python(repository / "configs/pretrain/claims.py", "config")["rows"]
    assert {name for claim in CLAIMS.values() for name in claim.systems} <= rows.keys()


def test_a_claims_row_holds_paired_differences_with_their_verdicts():
    table = claim_table(RECORDS)
    assert cells(table, "(b)", "us3l − us_simclr") == [
        "+1.2 ± 0.2 seen", "+0.0 ± 0.0 not seen", "-1.0 ± 0.0 contradicted", "-2.5 ± 0.5 contradicted",
    ]  # fmt: skip
    assert cells(table, "(c)") == ["–", "–", "–", "+7.0 one seed"]
    assert cells(table, "(d)") == ["–"] * 4
    assert cells(claim_table(RECORDS, "knn"), "(b)", "us3l − us_simclr") == [
        "+2.5 ± 0.5 seen", "+0.0 ± 0.0 not seen", "-2.0 ± 0.0 contradicted", "-5.0 ± 1.0 contradicted",
    ]  # fmt: skip


def test_a_systems_row_is_mean_and_deviation_over_its_seeds():
    assert cells(system_table(RECORDS), "us3l", "2") == [
        "41.0 ± 1.4", "40.0 ± 1.4", "39.0 ± 1.4", "38.0 ± 1.4", "20.0", "–", "2.0", "1.5",
    ]  # fmt: skip
    assert cells(system_table(RECORDS), "simclr_025", "1")[:4] == ["–", "–", "–", "30.0"]
    assert accuracy(RECORDS, "us3l", 0.5) == {0: 38, 1: 40}


def test_trainings_of_different_lengths_are_never_compared(tmp_path):
    path = tmp_path / "claims.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in [*RECORDS, {**RECORDS[0], "iterations": 7}]))
    with pytest.raises(UserError, match="mixes trainings of different lengths"):
        read_records(path)


@pytest.mark.parametrize("change", [{"iterations": None}, {"rank": None}, {"knn": None}, {"system": 3}])
def test_a_line_that_is_no_record_is_named(change, tmp_path):
    path = tmp_path / "claims.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in [RECORDS[0], RECORDS[1] | change]))
    with pytest.raises(
        UserError, match=f"record 2 has no '{next(iter(change))}'; expected what tools/claims.py writes"
    ):
        read_records(path)


@pytest.mark.parametrize("draw", [draw, draw_costs])
def test_a_picture_names_each_system_that_was_run_and_repeats_its_bytes(draw, tmp_path):
    for name in ("a.svg", "b.svg"):
        draw(RECORDS, tmp_path / name)
    picture = (tmp_path / "a.svg").read_text()
    assert picture == (tmp_path / "b.svg").read_text() and len(re.findall('<g id="legend_1"', picture)) == 1
    draw([], tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_every_system_has_a_place_in_the_picture_of_costs():
    assert {name for claim in CLAIMS.values() for name in claim.systems} <= TRAINED.keys()
