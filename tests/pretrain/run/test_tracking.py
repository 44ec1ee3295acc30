"""Trackers: each has every line of a run's log once, of all its parts; none can harm the run."""

import json
import time
import warnings
from pathlib import Path
from typing import ClassVar

import pytest

from pretrain.common.errors import UserError
from pretrain.run import tracking
from pretrain.run.distributed import World
from pretrain.run.tracking import TRACKERS, Tracker, check_trackers
from pretrain.train import pretrain
from pretrain.trainer import Trainer
from tests.pretrain.helpers import tiny_config
from tests.requirements import demand

PACKAGE = {"wandb": "trackers", "mlflow": "trackers", "trackio": "trackio"}  # what the tests of each require
Records = dict[int, list[dict[str, float]]]  # by iteration, what was reported


class Interrupted(Exception):
    pass


def train(folder: Path, resume: bool = False, **training) -> Path:
    return pretrain(tiny_config(training=training), folder, resume, "cpu")


def interrupt(folder: Path, monkeypatch, at: int, **training) -> None:
    """A run that is cut off after ``at`` iterations."""
    whole = Trainer.step

    def step(self, batch, iteration):
        if iteration == at:
            raise Interrupted
        return whole(self, batch, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        with pytest.raises(Interrupted):
            train(folder, **training)


def wandb_records(folder: Path) -> Records:
    """What wandb's own files hold: https://github.com/google/leveldb/blob/main/doc/log_format.md after 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: Records = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        data, at, parts = path.read_bytes(), 7, b""
        while at + 7 <= len(data):
            if (room := 32768 - at % 32768) < 7:
                at += room
                continue
            length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
            parts, at = parts + data[at + 7 : at + 7 + length], at + 7 + length
            if kind not in (1, 4):  # a first or a middle part
                continue
            record, parts = Record.FromString(parts), b""
            if record.WhichOneof("record_type") == "history":
                items = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
                found.setdefault(record.history.step.num, []).append(
                    {key: value for key, value in items.items() if not key.startswith("_")}
                )
    return found


def mlflow_records(folder: Path) -> Records:
    from mlflow import MlflowClient

    client = MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name("us3l").experiment_id])
    assert run.info.run_name == folder.name and run.info.status == "FINISHED"
    assert run.data.params["training.batch_size"] == "8"
    found: Records = {}
    for name in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, name):
            rows = found.setdefault(metric.step, [{}])
            if name in rows[-1]:
                rows.append({})
            rows[-1][name] = metric.value
    return found


def trackio_records(folder: Path) -> Records:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    [run] = list(trackio.Api().runs("us3l"))
    found: Records = {}
    for row in SQLiteStorage.get_logs("us3l", run.name):
        values = {key: value for key, value in row.items() if key not in ("step", "timestamp")}
        found.setdefault(row["step"], []).append(values)
    return found


READ = {"wandb": wandb_records, "mlflow": mlflow_records, "trackio": trackio_records}


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Every tracker stores in files below ``tmp_path``."""
    for name, value in {
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_has_every_line_once_of_a_run_that_was_cut_off_and_resumed(name, offline, monkeypatch):
    demand(PACKAGE[name])
    folder, plain = offline / "run", offline / "plain"
    interrupt(folder, monkeypatch, at=7, track=(name,), checkpoint_interval=5)  # line 6 is told of twice
    train(folder, resume=True, track=(name,), checkpoint_interval=5)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = READ[name](folder)
    assert sorted(found) == [line["iteration"] for line in lines] == [3, 5, 6, 9]
    for line in lines:
        [values] = found[line["iteration"]]
        assert values.keys() == {f"pretrain/{key}" for key in line if key != "iteration"}
        for key in ("loss", "lr", "epoch"):
            assert values[f"pretrain/{key}"] == pytest.approx(line[key], rel=1e-12)
    train(plain, checkpoint_interval=5)
    assert (plain / "universal.safetensors").read_bytes() == (folder / "universal.safetensors").read_bytes()


class Told(Tracker):
    """Keeps what it is told."""

    said: ClassVar[list] = []

    def __init__(self, name, folder, config):
        self.said.append(("open", name))

    def log(self, values, iteration):
        self.said.append(("log", iteration))

    def close(self, finished):
        self.said.append(("close", finished))


class FailsToOpen(Told):
    def __init__(self, name, folder, config):
        raise RuntimeError("no such server\nmore of it")


class FailsToLog(Told):
    def log(self, values, iteration):
        raise ConnectionError("the line is dead")


class FailsToClose(Told):
    def close(self, finished):
        raise OSError("the disk is full")


class Hangs(Told):
    def log(self, values, iteration):
        time.sleep(60)


@pytest.fixture
def told(monkeypatch):
    """Puts a kind in wandb's place; returns what a ``Told`` is told."""
    monkeypatch.setattr(tracking, "find_spec", lambda name: True)
    monkeypatch.setattr(tracking, "PATIENCE", 0.2)
    monkeypatch.setattr(Told, "said", [])

    def put(kind: type[Tracker]) -> list:
        monkeypatch.setitem(TRACKERS, "wandb", kind)
        return Told.said

    return put


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FailsToOpen, "no such server"),
        (FailsToLog, "the line is dead"),
        (FailsToClose, "the disk is full"),
        (Hangs, "what it was told last was not sent within 0.2 s"),
    ],
)
def test_a_tracker_that_fails_costs_one_warning(kind, reason, told, tmp_path):
    told(kind)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert train(tmp_path, track=("wandb",)).exists()
    said = [str(warning.message) for warning in seen if "track" in str(warning.message)]
    assert said == [f"wandb does not track this run: {reason}"]


def test_a_run_goes_on_under_its_name_and_hears_how_it_ended(told, tmp_path, monkeypatch):
    said = told(Told)
    interrupt(tmp_path, monkeypatch, at=7, track=("wandb",))
    train(tmp_path, resume=True, track=("wandb",))
    (_, name), (_, again) = (entry for entry in said if entry[0] == "open")
    assert name == again and len(name) == 12
    assert [entry for entry in said if entry[0] == "close"] == [("close", False), ("close", True)]
    told(Told)
    (tmp_path / tracking.NAME_FILE).write_bytes(b"\xff damaged")
    assert tracking.run_name(tmp_path) == tracking.run_name(tmp_path) != name


def test_only_the_main_process_tracks(told, tmp_path, monkeypatch):
    said = told(Told)
    monkeypatch.setattr(World, "is_main", property(lambda world: False))
    train(tmp_path, track=("wandb",))
    assert said == [] and not any(tmp_path.iterdir())


def test_a_tracker_changes_no_hash_and_may_come_and_go(told, tmp_path, monkeypatch):
    told(Told)
    plain, tracked = tiny_config(), tiny_config(training={"track": "wandb"})
    assert tracked.training.track == ("wandb",)
    assert plain.hash == tracked.hash and plain.lineage == tracked.lineage
    interrupt(tmp_path, monkeypatch, at=4)
    train(tmp_path, resume=True, track=("wandb",))


@pytest.mark.parametrize(
    ("name", "line"), [("wandb", "pip install wandb"), ("mlflow", "pip install mlflow-skinny sqlalchemy alembic")]
)
def test_a_tracker_that_is_not_installed_is_one_line_before_anything_begins(name, line, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"training.track names {name}, which is not installed; expected: {line}$"):
        train(tmp_path / "run", track=(name,))
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").glob("*.jsonl"))
    check_trackers(())


def test_a_misspelt_tracker_is_named():
    with pytest.raises(UserError, match="unknown 'wandbb'; did you mean 'wandb'"):
        tiny_config(training={"track": ("wandbb",)})
