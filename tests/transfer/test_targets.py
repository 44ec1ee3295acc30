"""The table of targets: what every part of the project knows of what can be evaluated."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from tests.programs import python
from transfer.convert import FORMATS
from transfer.targets import FRAMEWORKS, METRICS, TARGETS, TASKS, data_root, headline, target_named, targets_of


def test_the_table_is_read_without_torch():
    code = "import sys, transfer.targets, transfer.convert; sys.exit('torch' in sys.modules)"
    assert python(code).returncode == 0


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_has_a_file_that_reads_it_and_metrics_with_names(name):
    target = TARGETS[name]
    assert find_spec(target.module) and find_spec(f"transfer.{target.kind}.command")
    assert target.headline and set(target.headline) <= set(METRICS)
    if target.kind == "recognition":
        found = target.reader.SET
        assert all(callable(getattr(found, method)) for method in ("find_root", "read", "download"))
    else:
        assert target.detector and target.training.iterations and set(target.precisions) <= {"box", "mask"}
        assert {f"{kind}/{each}" for kind, names in target.precisions.items() for each in names} >= set(target.headline)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_has_a_class_and_a_format_to_convert_to(name):
    module, _, kind = FRAMEWORKS[name].rpartition(".")
    assert name in FORMATS and find_spec(module) is not None and kind == name.capitalize()


def test_a_result_is_headed_by_its_targets_metric_or_by_its_tasks():
    assert headline("pets", "linear") == ("class_mean",) and headline("voc", "detection") == ("box/AP50", "box/AP")
    for task, known in TASKS.items():
        assert headline("my photographs", task) == headline(None, task) == known.headline
    assert headline("digits", "detection") == TASKS["detection"].headline, "scenes that are called as a set of images"


def test_kinds_part_the_targets_and_an_unknown_one_names_the_nearest():
    assert {**targets_of("recognition"), **targets_of("detection")} == TARGETS
    with pytest.raises(UserError, match="unknown target 'cifar11'; did you mean 'cifar10'"):
        target_named("cifar11")


@pytest.mark.parametrize(
    ("variable", "given", "expected"),
    [(None, None, "datasets"), ("", None, "datasets"), ("/all", None, "/all"), ("/all", "here", "here")],
)
def test_an_empty_variable_is_none_wherever_data_are_looked_for(variable, given, expected, monkeypatch):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    if variable is not None:
        monkeypatch.setenv("DETECTRON2_DATASETS", variable)
    assert data_root(given) == Path(expected)
