"""What determines a result beside config and options, and a job whose files were edited after its launch."""

import json
from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from pretrain.common.repository import CONFIGS
from slurm import command
from slurm.folder import Entry, Launched, place, write_grid
from slurm.grid.definition import load_graph
from slurm.presets import Preset, load_preset
from slurm.submit import job_for, on_machine
from tests.pretrain.helpers import universal
from tests.requirements import requires

DIGITS = CONFIGS / "pretrain/us3l_resnet18_digits.py"


@pytest.fixture
def config(tmp_path) -> Path:
    """A config of one's own."""
    path = tmp_path / "mine.py"
    path.write_text(DIGITS.read_text().replace("_base_/", f"{DIGITS.parent}/_base_/"))
    return path


@pytest.fixture
def entries(tmp_path):
    """The entries of a grid of this text."""

    def load(text: str, data: dict[str, str] | None = None) -> dict[str, Entry]:
        (tmp_path / "grid.py").write_text(text)
        found = place(load_graph(tmp_path / "grid.py", 0, data), tmp_path / "nodes")
        return {entry.name: entry for entry in found}

    return load


class TestFolders:
    """Where a data set's name stands for any images, their folder tells them, seen from anywhere."""

    def node(self, entries, config: Path, overrides: str = "[]", data: dict[str, str] | None = None) -> Entry:
        return entries(f'pretrain = dict(x=dict(config="{config}", overrides={overrides}))', data)["grid/x"]

    def test_of_a_config_count_as_those_of_an_override(self, config, entries, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        (config.parent / "other.py").write_text(config.read_text())
        unsaid = self.node(entries, config.parent / "other.py", '["data.name=folder"]')
        config.write_text(config.read_text().replace('name="digits"', 'name="folder", root="A"'))
        said = self.node(entries, config)
        assert "root" not in unsaid.node.settings and said.node.settings["root"] == [f"{tmp_path}/A"]
        assert said.hash == self.node(entries, config, f'["data.root={tmp_path}/A"]').hash
        assert said.hash == self.node(entries, config, "['data.root=[\"A\"]']").hash != unsaid.hash
        preset = self.node(entries, config, data={"folder": "/B"})
        assert preset.node.settings["root"] == ["/B"], "which the job is told instead"

    @pytest.mark.parametrize(
        ("overrides", "expected"),
        [
            ('["data.root=A"]', "data.root={here}/A"), ("""['data.root=["A","/B"]']""", "data.root=['{here}/A', '/B']"),
            ("[]", "data.root={here}/C"),
        ],
    )  # fmt: skip
    def test_are_absolute_in_commands(self, config, entries, monkeypatch, tmp_path, overrides, expected):
        monkeypatch.chdir(tmp_path)
        config.write_text(config.read_text().replace('name="digits"', 'name="folder", root="C"'))
        entry = self.node(entries, config, overrides)
        assert on_machine(entry.node, Preset()).overrides == (expected.format(here=tmp_path),)


@requires("submitit")
class TestEditedSinceTheLaunch:
    @pytest.fixture(autouse=True)
    def in_a_job(self, monkeypatch):
        monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
        monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "7")
        monkeypatch.setattr("slurm.jobs.NodeJob.pretrain", lambda self: None)
        monkeypatch.setattr("slurm.jobs.NodeJob.run", lambda self: None)

    def check(self, entry: Entry, edit, preset: Preset | None = None) -> None:
        """The job succeeds before ``edit()`` and says why it does not after it."""
        job = job_for(entry, preset or Preset())
        job()
        assert json.loads((entry.path / "done.json").read_text())["hash"] == entry.hash
        edit()
        with pytest.raises(UserError, match="has changed since the launch; expected another launch") as raised:
            job()
        assert "\n" not in str(raised.value) and not (entry.path / "done.json").exists()
        assert "has changed" in json.loads((entry.path / "failed.json").read_text())["message"]

    def test_a_config_ends_the_job(self, config, entries):
        one = entries(f'pretrain = dict(x=dict(config="{config}"))')["grid/x"]
        self.check(one, lambda: config.write_text(config.read_text().replace("epochs=8", "epochs=3")))

    @pytest.mark.parametrize("data", [{}, {"cifar10": "/there"}])
    @pytest.mark.parametrize("key", ["objective.teacher", "backbone.weights", "method"])
    def test_a_students_config_ends_the_job_wherever_its_teacher_lies(self, config, entries, data, key):
        """And whatever the job is told besides, as the folder of its images; what is hashed may name the teacher."""
        seed = '"objective.name=seed", ' if key == "objective.teacher" else ""
        said = f'overrides=[{seed}"data.name=cifar10"], teacher="b", teacher_key="{key}"'
        found = entries(f'pretrain = dict(b=dict(config="{DIGITS}"), a=dict(config="{config}", {said}))', data)
        text = config.read_text()
        self.check(found["grid/a"], lambda: config.write_text(text.replace("epochs=8", "epochs=3")), Preset(data=data))

    def test_a_teacher_by_another_name_ends_the_job_though_neither_is_a_file(self, config, entries):
        text = config.read_text()
        teacher = 'objective = dict(_delete_=True, name="seed", teacher="hf://one/teacher")\n'
        config.write_text(f"{text}\n{teacher}")
        (entry,) = entries(f'pretrain = dict(x=dict(config="{config}"))').values()
        self.check(entry, lambda: config.write_text(f"{text}\n{teacher.replace('one', 'other')}"))

    def test_weights_to_start_from_end_the_job(self, entries, tmp_path):
        (tmp_path / "a.pth").write_bytes(b"one")
        text = f'pretrain = dict(x=dict(config="{DIGITS}", overrides=["backbone.weights={tmp_path}/a.pth"]))'
        self.check(entries(text)["grid/x"], lambda: (tmp_path / "a.pth").write_bytes(b"two"))

    @pytest.mark.parametrize("folder", ["", "run"])
    def test_a_teachers_file_ends_the_job(self, entries, tmp_path, folder):
        """And its content names the job, wherever it lies; a run's folder stands for its universal checkpoint."""

        def student(where: str) -> Entry:
            path = tmp_path / where / folder
            said = f'"objective.name=seed", "objective.teacher={path if folder else path / "a.pth"}"'
            return entries(f'pretrain = dict(x=dict(config="{DIGITS}", overrides=[{said}]))')["grid/x"]

        name = "universal.safetensors" if folder else "a.pth"
        for where, text in (("one", b"1"), ("same", b"1"), ("other", b"2")):
            (tmp_path / where / folder).mkdir(parents=True)
            (tmp_path / where / folder / name).write_bytes(text)
        assert student("same").hash == student("one").hash != student("other").hash
        self.check(student("one"), lambda: (tmp_path / "one" / folder / name).write_bytes(b"2"))

    def test_a_recipe_ends_the_job(self, entries, tmp_path):
        recipe = tmp_path / "recipe.py"
        recipe.write_text("model = 1")
        text = f"""pretrain = dict(x=dict(config="{DIGITS}"))
transfer = [dict(of="x", target="coco", widths=[1.0], arguments=["--config", "{recipe}"], convert=False)]"""
        (one,) = (entry for entry in entries(text).values() if entry.node.kind == "transfer")
        self.check(one, lambda: recipe.write_text("model = 2"))

    def test_a_checkpoint_ends_the_job(self, tmp_path, capsys, monkeypatch):
        path = universal(base_channels=8).save(tmp_path / "c/universal.safetensors")
        monkeypatch.setattr("slurm.command.launch", lambda order, dry_run: found.append(order))
        found = []
        command.main(["transfer", "digits", "--width", "1", "--checkpoint", str(path), "--cluster", "local"])
        (one,) = place(found[0].graph, tmp_path / "nodes")
        self.check(one, lambda: universal(base_channels=8).save(path))

    def test_retry_refuses_before_anything_starts(self, config, entries, tmp_path, capsys):
        one = entries(f'pretrain = dict(x=dict(config="{config}"))')
        write_grid(tmp_path / "grid", [*one.values()], Launched(load_preset("local"), "again"))
        order = ["retry", str(tmp_path / "grid"), "--trust", "--dry-run"]
        command.main(order)
        assert "would retry grid/x" in capsys.readouterr().out
        config.write_text(config.read_text().replace("epochs=8", "epochs=3"))
        with pytest.raises(UserError, match="'grid/x': its config .*mine.py. has changed since the launch"):
            command.main(order)
        assert capsys.readouterr().out == ""
