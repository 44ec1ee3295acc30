"""result.json: the same file from every evaluation, whole or not there, refused where it is foreign."""

import json
import os
from dataclasses import asdict

import pytest

import pretrain
from pretrain.common.errors import UserError
from transfer import results
from transfer.results import json_schema, read_result, read_results, result_folder, settings_hash


def test_what_was_written_is_read_again(make_result, tmp_path):
    result = make_result()
    path = result.write(tmp_path / "deep" / "folder")
    assert path == tmp_path / "deep" / "folder" / "result.json"
    [record] = read_results(tmp_path)
    assert record == {**asdict(result), "schema": 1, "versions": results.versions()}


def test_versions_say_what_a_result_depends_on(make_result, tmp_path):
    versions = read_result(make_result().write(tmp_path))["versions"]
    assert versions["project"] == pretrain.__version__
    assert set(versions) == {"python", "torch", "torchvision", "detectron2", "mmdet", "project"}
    assert versions["torch"] and versions["torchvision"]
    assert results.version_of("a_package_that_is_absent") is None


def test_undefined_metrics_are_null_rather_than_nan(make_result, tmp_path):
    path = make_result(metrics={"box/AP": float("nan"), "box/AP50": 3}, details={"per_class": [float("inf")]}).write(
        tmp_path
    )
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    record = read_result(path)
    assert record["metrics"] == {"box/AP": None, "box/AP50": 3} and record["details"] == {"per_class": [None]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"metrics": {"top1": 250.0}}, "metrics/top1"),
        ({"metrics": {}}, "metrics"),
        ({"width": 1.5}, "width"),
        ({"task": "segmentation"}, "task"),
        ({"macs": 1.5}, "macs"),
        ({"checkpoint": "not a hash"}, "checkpoint"),
    ],
)
def test_a_wrong_result_is_never_written_and_the_old_one_stays(make_result, tmp_path, change, named):
    path = make_result().write(tmp_path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=named):
        make_result(**change).write(tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "nothing half-written is left behind"


def test_results_come_oldest_first(make_result, tmp_path):
    for age, name in ((3, "a"), (1, "b"), (2, "c")):
        path = make_result(dataset=name).write(tmp_path / name)
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert [record["dataset"] for record in read_results(tmp_path)] == ["a", "c", "b"]


def test_a_folder_without_results_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"holds no result\.json"):
        read_results(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        read_results(tmp_path / "absent")


def damaged(text: str) -> str:
    return text[: len(text) // 2]


def foreign(text: str) -> str:
    return json.dumps({"accuracy": 3})


def newer(text: str) -> str:
    return json.dumps({**json.loads(text), "schema": 2})


def incomplete(text: str) -> str:
    return json.dumps({key: value for key, value in json.loads(text).items() if key != "seed"})


def deep(text: str) -> str:
    return text.replace('"details": {', '"details": {"a": ' + '{"a":' * 5000 + "1" + "}" * 5000 + ",")


def not_a_number(text: str) -> str:
    return text.replace('"seconds": 1.5', '"seconds": NaN')


def too_large(text: str) -> str:
    return text.replace('"macs": 9900000', '"macs": 1' + 400 * "0")


def far_too_large(text: str) -> str:
    return text.replace('"macs": 9900000', '"macs": 1' + 9000 * "0")


def infinite(text: str) -> str:
    return text.replace('"details": {', '"details": {"a": [1e999],')


def no_unicode(text: str) -> str:
    return text.replace('"method": "us3l"', '"method": "us3l\\ud800"')


WRONG = {
    damaged: "damaged", foreign: "at accuracy: unknown key; valid: .*backbone", newer: "at schema: .* 1",
    incomplete: "at seed", deep: "damaged|levels", not_a_number: "damaged: NaN", too_large: "at macs: .*63 bits",
    far_too_large: "damaged", infinite: "at details/a/0: inf", no_unicode: "no Unicode",
}  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__)
def test_a_damaged_or_foreign_file_is_named_in_one_line_and_left_out(make_result, tmp_path, change, capsys):
    bad = make_result().write(tmp_path / "bad")
    text = change(bad.read_text())
    assert text != bad.read_text()
    bad.write_text(text)
    with pytest.raises(UserError, match=WRONG[change]) as raised:
        read_results(tmp_path)
    assert str(bad) in str(raised.value) and "\n" not in str(raised.value)
    make_result(dataset="good").write(tmp_path / "good")
    assert [record["dataset"] for record in read_results(tmp_path)] == ["good"]
    assert capsys.readouterr().err == f"left out: {raised.value}\n"


def test_the_schema_that_is_published_is_the_one_that_is_checked(repository):
    assert json.loads((repository / "docs/result.schema.json").read_text()) == json_schema()


def test_folders_tell_widths_tasks_and_random_weights_apart(tmp_path):
    folders = [
        result_folder(tmp_path, "digits", task, width, method)
        for task in ("linear", "knn")
        for width in (1.0, 0.75)
        for method in ("us3l", "random")
    ]
    assert folders[0] == tmp_path / "digits" / "linear" / "width_1"
    assert folders[3] == tmp_path / "digits" / "linear" / "width_0.75_random"
    assert len(set(folders)) == len(folders)


def test_the_settings_hash_depends_on_values_not_on_order():
    assert settings_hash({"a": 1, "b": 2.5}) == settings_hash({"b": 2.5, "a": 1})
    assert settings_hash({"a": 1, "b": 2.5}) != settings_hash({"a": 1, "b": 2.6})
