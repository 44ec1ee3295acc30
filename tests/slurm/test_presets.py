"""Cluster presets: what can be said, and what a slip of the pen is answered."""

import dataclasses

import pytest
import yaml

from pretrain.common.errors import UserError
from slurm.command import FLAGS
from slurm.presets import FOLDER, Preset, list_presets, load_preset, minutes


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_of_the_project_can_be_read(name):
    assert load_preset(name).executor == ("local" if name == "local" else "slurm")


def test_the_example_explains_every_key():
    assert set(yaml.safe_load((FOLDER / "example.yaml").read_text())) == {f.name for f in dataclasses.fields(Preset)}


def test_a_flag_wins_over_the_preset_and_data_are_merged():
    preset = load_preset("example", {"partition": "long", "account": None, "data": {"coco": "/elsewhere"}})
    assert (preset.partition, preset.time, preset.gpus_per_node) == ("long", 1440, 8)
    assert preset.data["coco"] == "/elsewhere" and preset.data["voc"] == "/datasets/voc"


def test_environments_are_merged(tmp_path):
    (tmp_path / "mine.yaml").write_text("environment: {A: '1', B: '2'}")
    preset = load_preset(str(tmp_path / "mine.yaml"), {"environment": {"A": "3"}})
    assert preset.environment == {"A": "3", "B": "2"}


def test_folders_of_data_are_the_same_wherever_a_job_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("data: {coco: d/coco, voc: /voc}")
    data = load_preset("mine.yaml", {"data": {"folder": "photos"}}).data
    assert data == {"coco": f"{tmp_path}/d/coco", "voc": "/voc", "folder": f"{tmp_path}/photos"}


def test_every_flag_is_a_key_of_presets():
    assert {flag.replace("-", "_") for flag in FLAGS} <= {field.name for field in dataclasses.fields(Preset)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partitoin: gpu", "unknown key 'partitoin'; did you mean 'partition'?"),
        ("time: tomorrow", "'tomorrow' is no time"),
        ("cpus_per_task: many", "cpus_per_task: Input should be a valid integer"),
        ("executor: pbs", "executor: unknown 'pbs'; valid: local, slurm"),
        ("- partition", "expected keys with values"),
        ("partition: [", "is no valid yaml"),
        ("time: 1", "signal_delay is 120 s, which leaves nothing of the 1 minutes"),
        ("max_retries: -1", "max_retries is -1; expected a number from 0"),
    ],
)
def test_a_slip_is_one_line(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        load_preset(str(path))
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UserError, match="no cluster preset 'exmaple'; did you mean 'example'?"):
        load_preset("exmaple")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(90, 90), ("90", 90), ("30:00", 30), ("1:30:00", 90), ("1:00:01", 61), ("2-12", 3600), ("1-00:00:00", 1440)],
)
def test_times_are_read_as_slurm_writes_them(text, expected):
    assert minutes(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("12:00:00", 720), ("30:00", 30), ("08:00:00", 480), ("90", 90)])
def test_a_time_of_a_preset_needs_no_quotes(tmp_path, text, expected):
    (tmp_path / "mine.yaml").write_text(f"time: {text}\nenvironment: {{A: 1:30, B: b}}")
    preset = load_preset(str(tmp_path / "mine.yaml"))
    assert preset.time == expected and preset.environment == {"A": "1:30", "B": "b"}
