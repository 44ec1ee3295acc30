"""What is a seed of an experiment and what is another experiment: nothing that decides a result is averaged away."""

from dataclasses import asdict

import pytest

from pretrain.common.errors import UserError
from transfer.tables import build
from transfer.tables.experiments import experiments
from transfer.tables.table import MISSING

PRETRAINING = {
    "seed": 0, "epochs": 20.0, "batch_size": 64, "data": {"name": "digits", "images": 1437}, "lineage": "1" * 64,
    "backbone": {"name": "resnet18", "stem": "cifar", "base_channels": 64}, "width_range": [0.25, 1.0],
    "optimizer": {"lr": 0.1, "alpha": 0.05}, "config": "c" * 64, "calibration": {"widths": [1.0, 0.5]},
}  # fmt: skip


@pytest.fixture
def result(make_result):
    """A result of 80 %, with some of its pretraining changed (``optimizer.lr``) and other changes of the record."""

    def make(top1=80.0, changed=None, **changes) -> dict:
        pretraining = {**PRETRAINING}
        for path, value in (changed or {}).items():
            section, _, name = path.rpartition(".")
            if section:
                pretraining[section] = {**pretraining[section], name: value}
            else:
                pretraining[name] = value
        details = {
            "pretraining": pretraining, "architecture": pretraining["backbone"], "protocol": "fast",
            "settings": {"seed": changes.get("seed", 0), "image_size": 32}, **changes.pop("details", {}),
        }  # fmt: skip
        return asdict(make_result(metrics={"top1": top1}, width=1.0, details=details, **changes))

    return make


def rows(records) -> list[tuple[str, ...]]:
    """(what its columns beyond the method say …, figure) of each method's row."""
    table = build("widths", records)
    return [(*labels[5:], str(cells[0])) for labels, cells in table.rows if labels[4]]


def test_seeds_of_the_evaluation_and_of_the_pretraining_are_one_row(result):
    records = [result(80.0), result(82.0, seed=1), result(84.0, {"seed": 1, "config": "d" * 64}, checkpoint="b" * 64)]
    assert rows(records) == [("82.0 ± 2.0",)]
    assert build("widths", records).caption.endswith("Mean and standard deviation over 3 seeds.")
    assert build("widths", records[:1]).caption.endswith("One seed each.")


@pytest.mark.parametrize(
    ("changed", "details", "said"),
    [
        ({"optimizer.lr": 0.5}, {}, "lr 0.1|lr 0.5"),
        ({"epochs": 100.0}, {}, "20|100"),
        ({"batch_size": 512}, {}, "64|512"),
        ({"data.name": "cifar10"}, {}, "digits|cifar10"),
        ({"data.images": 500}, {}, "images 1437|images 500"),
        ({"lineage": "2" * 64}, {}, "lineage 11111111|lineage 22222222"),
        ({}, {"protocol": "paper"}, "fast|paper"),
        ({}, {"neighbours": 3}, "|neighbours 3"),
        ({}, {"settings": {"seed": 0, "image_size": 64}}, "32|64"),
        ({}, {"calibration": {"on": "target", "data": "digits"}}, "|statistics of target"),
        ({}, {"settings": {"seed": 0, "image_size": 32, "labels": 0.1}}, "1|0.1"),
        ({}, {"masks": False}, "|masks no"),
        ({}, {"recipe_hash": "1234"}, "|recipe hash 1234"),
        ({}, {"annotations": "0123456789ab"}, "|annotations 01234567"),
        ({}, {"framework": "mmdet", "overrides": ["a=1"]}, "|framework mmdet"),
    ],
)
def test_what_determines_a_result_tells_rows_apart(result, changed, details, said):
    """Whatever the seeds: with equal ones the later would else hide the earlier, with others they would be averaged."""
    for seed in (0, 1):
        found = rows([result(80.0), result(60.0, changed, details=details, seed=seed)])
        assert sorted(figure for *_, figure in found) == ["60.0", "80.0"]
        texts = {", ".join(filter(None, columns)): figure for *columns, figure in found}
        first, second = said.split("|")
        assert next(f for text, f in texts.items() if text.startswith(second)) == "60.0"
        assert next(f for text, f in texts.items() if text.startswith(first) and f == "80.0")


def test_another_architecture_is_another_row_with_costs_of_its_own(result):
    wide = {**PRETRAINING["backbone"], "base_channels": 128}
    records = [result(80.0), result(85.0, {"backbone": wide}, params=9_000_000, macs=50_000_000)]
    table = build("widths", records)
    texts = [[*labels, str(cells[0])] for labels, cells in table.rows]
    assert [row[-2:] for row in texts[:2]] == [["base channels 128", "85.0"], ["base channels 64", "80.0"]]
    assert [(row[2], *row[-2:]) for row in texts[2:]] == [
        ("params (M)", "base channels 64", "2.80"), ("params (M)", "base channels 128", "9.00"),
        ("MACs (M)", "base channels 64", "9.9"), ("MACs (M)", "base channels 128", "50.0"),
    ]  # fmt: skip


def test_plans_by_stage_are_rows_of_their_own_even_of_equal_share(result):
    plans = {"r18-8.32.64.128": 800, "r18-16.16.64.128": 810}
    records = [
        result(60.0 + i, method="us3l by stage", details={"plan": plan}, params=params, macs=2 * params)
        for i, (plan, params) in enumerate(plans.items())
    ]
    assert rows(records[:1]) == [("plan r18-8.32.64.128", "60.0")]
    assert rows([result(80.0), *records]) == [
        ("", "80.0"), ("plan r18-16.16.64.128", "61.0"), ("plan r18-8.32.64.128", "60.0"),
    ]  # fmt: skip


def test_students_of_two_teachers_are_two_rows_and_of_one_teachers_seeds_one(result):
    def student(top1: float, seed: int, sha256: str, lineage: str) -> dict:
        teacher = {"source": "a.safetensors", "licence": "?", "sha256": sha256 * 64, "lineage": lineage * 64}
        changes = {"seed": seed, "teacher": "us3l-resnet18", "teacher_weights": teacher}
        return result(top1, changes, checkpoint=f"{seed}{sha256}" * 32)

    one = [student(80.0, 0, "a", "1"), student(82.0, 1, "b", "1")]
    other = [student(60.0, 0, "c", "2"), student(62.0, 1, "d", "2")]
    assert rows(one) == [("81.0 ± 1.4",)]
    assert rows([*one, *other]) == [("teacher 11111111", "81.0 ± 1.4"), ("teacher 22222222", "61.0 ± 1.4")]


def test_two_checkpoints_of_one_seed_are_two_rows(result):
    """They say the same of themselves; something that is not recorded was different."""
    found = rows([result(80.0), result(60.0, checkpoint="b" * 64)])
    assert found == [("checkpoint aaaaaaaa", "80.0"), ("checkpoint bbbbbbbb", "60.0")]


def test_the_same_evaluation_done_again_counts_once_and_the_later_one(result):
    assert rows([result(80.0), result(80.5)]) == [("80.5",)]


def test_equal_rows_of_different_costs_are_an_error(result):
    with pytest.raises(
        UserError, match="width 1 say the same of themselves, but cost different.*123.*9900000"
    ) as raised:
        build("widths", [result(), result(seed=1, macs=123)])
    assert "\n" not in str(raised.value)


def test_networks_trained_for_one_width_each_are_one_row(result):
    wide = result(80.0, {"width_range": [1.0, 1.0]})
    narrow = {**result(60.0, {"width_range": [0.5, 0.5]}, checkpoint="b" * 64), "width": 0.5}
    assert len(experiments([wide, narrow])) == 1


def test_a_table_of_the_paper_has_a_row_for_each_experiment_that_fits(result):
    pretraining = {"data.name": "cifar100", "objective": {"base": "infonce", "distill": "mse"}}
    sampling = {"sandwich": True, "dynamic": True}
    fitting = {"details": {"protocol": "paper"}, "dataset": "cifar100"}
    both = [
        result(top1, {**pretraining, "sampling": sampling, "optimizer.lr": lr}, **fitting)
        for top1, lr in ((70.0, 0.1), (50.0, 0.5))
    ]
    table = build("2", both, with_paper=True)
    assert table.labels[-1] == "settings"
    ours = [(labels[1], labels[-1], cells[0].ours, cells[0].paper) for labels, cells in table.rows
            if cells[0].ours != MISSING]  # fmt: skip
    assert ours == [("us3l", "lr 0.1", "70.0", "69.0"), ("us3l", "lr 0.5", "50.0", None)]
    assert "settings" not in build("2", both[:1]).labels


def test_boxes_alone_are_no_seed_of_a_detector_with_masks(result):
    """Whose mask AP else disappeared, and its box AP was averaged with theirs."""

    def detector(masks: bool, seed: int, box: float) -> dict:
        record = result(task="detection", seed=seed, details={"masks": masks})
        return {**record, "metrics": {"box/AP": box} | ({"mask/AP": 30.0} if masks else {})}

    found = rows([detector(True, 0, 40.0), detector(False, 0, 20.0), detector(False, 1, 22.0)])
    assert sorted(found) == [("masks no", "21.0 ± 1.4"), ("masks yes", "30.0"), ("masks yes", "40.0")]


def test_evaluations_of_other_methods_say_what_they_differ_in(result):
    other = result(60.0, method="byol", details={"neighbours": 3})
    assert rows([result(80.0), other]) == [("neighbours 3", "60.0"), ("", "80.0")]


def test_results_from_before_labels_had_a_share_are_of_all_of_them(result):
    new = result(82.0, seed=1, details={"settings": {"seed": 1, "image_size": 32, "labels": 1.0}})
    assert rows([result(80.0), new]) == [("81.0 ± 1.4",)]
