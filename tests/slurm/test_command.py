"""``tools/launch.py`` without a cluster: dry runs, this machine, and mistakes that are answered by one line."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from pretrain.common.files import read_object
from pretrain.common.repository import ROOT
from slurm import command
from slurm.command import SUBCOMMANDS
from slurm.folder import Launched, place, read_folder, write_grid
from slurm.grid.graph import Command, Graph, Node
from slurm.manage import names_foreign
from slurm.presets import load_preset
from tests.pretrain.helpers import universal
from tests.programs import tool
from tests.requirements import requires

pytestmark = requires("submitit")
IMAGENET = "configs/pretrain/us3l_resnet50_imagenet.py"
TINY = [
    "training.iterations=4", "training.batch_size=8", "training.threads=1", "backbone.base_channels=8",
    "data.images_per_class=4", "objective.hidden=16", "calibration.batches=1", "calibration.batch_size=8",
    "calibration.widths=[1.0,0.25]",
]  # fmt: skip


@pytest.fixture
def launch(capsys, tmp_path, monkeypatch):
    """The tool in this process, on a machine without SLURM: what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}:/nowhere")

    def run(*arguments) -> str:
        capsys.readouterr()
        command.main([str(argument) for argument in arguments])
        return capsys.readouterr().out

    return run


@pytest.fixture
def in_background():
    """This process ignores Ctrl-C, as what a script starts with ``&``."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help_with_an_example(launch, capsys, name):
    with pytest.raises(SystemExit) as ended:
        launch(name, "--help")
    assert ended.value.code == 0 and f"tools/launch.py {name}" in capsys.readouterr().out


def test_a_dry_run_prints_the_plan_and_the_script_and_touches_nothing(launch, tmp_path):
    printed = launch("pretrain", "--nodes", 4, "--gpus-per-node", 8, "--partition", "gpu", "--dry-run")
    assert "1 job: 0 done, 0 in the queue, 1 to submit (1 missing): about" in printed and "GPU hours" in printed
    for line in ("--nodes=4", "--ntasks-per-node=8", "--gpus-per-node=8", "--partition=gpu", "--requeue"):
        assert f"#SBATCH {line}" in printed.splitlines()
    assert "dry run: nothing was submitted" in printed and list(tmp_path.iterdir()) == []


def test_a_transfer_is_planned_for_each_width_and_seed(launch, tmp_path):
    checkpoint = universal(base_channels=8).save(tmp_path / "universal.safetensors")
    options = ("--widths", 1.0, 0.5, "--checkpoint", checkpoint, "--dry-run")
    printed = launch("transfer", "digits", "--seeds", 3, *options, "--args", "--epochs", "2")
    assert "6 jobs" in printed and "#SBATCH --array=0-5%6" in printed
    assert f"digits --epochs 2 --width 0.5 --seed 2 --checkpoint {checkpoint} --output {tmp_path}/transfer" in printed


def words_of(printed: str, name: str = "us3l_resnet18_digits") -> list[str]:
    """The command that a dry run prints of a job."""
    line = next(line for line in printed.splitlines() if line.startswith(f"# {name}: "))
    return shlex.split(line.partition(": ")[2])


def test_data_and_environment_are_no_overrides(launch, tmp_path):
    (tmp_path / "photos/train").mkdir(parents=True)
    config = ("data.name=folder", "training.epochs=1")
    printed = launch("pretrain", *config, "--data", "folder=photos", "--env", "A=a b", "B=1", "--dry-run")
    assert "export A='a b'" in printed and "export B=1" in printed
    assert words_of(printed)[2:6] == [str(ROOT / command.PRETRAIN), *config, f"data.root={tmp_path}/photos"]


def test_printed_commands_can_be_typed(launch, tmp_path):
    printed = launch("pretrain", "width_range=(0.5, 1.0)", "--work-dir", tmp_path / "a run", "--dry-run")
    words = words_of(printed)
    assert words[0] == sys.executable and Path(words[1]).is_file()
    assert words[3:] == ["width_range=(0.5, 1.0)", "--work-dir", str(tmp_path / "a run"), "--resume"]


def test_a_folder_that_only_nodes_see_is_said(launch):
    printed = launch("pretrain", IMAGENET, "--gpus-per-node", 8, "--data", "imagenet=/nodes/imagenet", "--dry-run")
    assert "imagenet: /nodes/imagenet is not seen from this machine, and so not checked" in printed
    assert "data.root=/nodes/imagenet" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["pretrain", IMAGENET, "--nodes", "4", "--dry-run"],
            "no folder is known for imagenet; expected --data",
        ),
        (["pretrain", IMAGENET, "--data", "imagenet=empty", "--dry-run"], "empty holds no imagenet"),
        (["pretrain", IMAGENET, "--data", "imagenet=/no", "--cluster", "local"], "no such folder: /no"),
        (
            ["transfer", "pets", "--width", "1", "--checkpoint", "c"],
            "no folder is known for pets; expected",
        ),
        (["transfer", "pets", "--width", "1", "--checkpoint", "c", "--data", "pets=empty"], "empty holds no pets"),
        (["grdi"], "unknown subcommand 'grdi'; expected it first; did you mean 'grid'?"),
        (["pretrain", "--partition", "main"], "no sbatch on PATH"),
        (["pretrain", "--cluster", "slrum"], "no cluster preset 'slrum'; did you mean 'slurm'?"),
        (["pretrain", "--nodes", "0"], "--nodes 0 --tasks-per-node 1; expected numbers from 1"),
        (["pretrain", "configs/pretrain/us3l_resnet18_digit.py"], "did you mean 'us3l_resnet18_digits'?"),
        (["pretrain", "training.epoch=3"], "unknown config key 'training.epoch'; did you mean 'epochs'?"),
        (["pretrain", "--time", "soon"], "argument --time: "),
        (["pretrain", "--data", "coco"], "--data coco: expected NAME=VALUE"),
        (["transfer", "coc"], "unknown target 'coc'; expected it first; did you mean 'coco'?"),
        (["transfer", "digits", "--checkpoint", "nowhere"], "no universal checkpoint at nowhere"),
        (["transfer", "digits", "--framework", "mmdet", "--checkpoint", "c"], "--framework is for detection"),
        (["transfer", "digits", "--width", "0.3", "--checkpoint", "c"], "width 0.3 is not calibrated"),
        (["pretrain", "configs/pretrain/table7.py"], "table7.py has 17 rows; expected "),
        (["grid", "configs/grids/tabel5.py"], "no such grid"),
        (["grid", "cycle.py"], "the grid has a cycle: cycle/a needs cycle/b needs cycle/a"),
        (["status", "."], "holds no grid.json"),
        (["retry", "nowhere"], "holds no grid.json"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_submitted(launch, tmp_path, repository, arguments, message):
    universal(base_channels=8).save(tmp_path / "c/universal.safetensors")
    config = repository / "configs/pretrain/us3l_resnet18_digits.py"
    rows = ", ".join(f'{a}=dict(config="{config}", teacher="{b}", teacher_key="data.root")' for a, b in ("ab", "ba"))
    (tmp_path / "cycle.py").write_text(f"pretrain = dict({rows})")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as raised:
        launch(*arguments)
    assert message in str(raised.value) and "\n" not in str(raised.value)
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and path.suffix == ".json"] == []


class TestThisMachine:
    """``--cluster local``: the same job objects without SLURM."""

    def test_a_run_of_two_processes_to_its_end_and_no_further(self, launch, tmp_path):
        order = ("pretrain", "--cluster", "local", "--nodes", 2, "--work-dir", tmp_path / "run", *TINY)
        printed = launch(*order)
        assert "us3l_resnet18_digits: done" in printed and (tmp_path / "run/universal.safetensors").is_file()
        assert read_object(tmp_path / "run/config.json")["training"]["chunks"] == 2, "two processes"
        assert "nothing to submit" in launch(*order)
        table = launch("status", tmp_path / "run")
        assert "done" in table and "4/4" in table
        with pytest.raises(UserError, match=r"holds another run .its settings differ.; use another --work-dir"):
            launch(*order, "optimizer.lr=0.1")

    def test_what_fails_says_why_and_what_needs_it_is_left_out(self, launch, tmp_path, repository):
        (tmp_path / "photos/train/cat").mkdir(parents=True)
        for number in range(16):
            (tmp_path / f"photos/train/cat/{number}.jpg").write_text("no image")
        overrides = [*TINY, "data.name=folder", f"data.root={tmp_path}/photos", "data.on_bad=stop"]
        config = repository / "configs/pretrain/us3l_resnet18_digits.py"
        (tmp_path / "small.py").write_text(
            f'pretrain = dict(x=dict(config="{config}", overrides={overrides}))\n'
            'transfer = [dict(of="x", target="digits", widths=[1.0])]'
        )
        with pytest.raises(UserError, match=r"2 of 2 jobs failed, first small/x; see launch.py status .*grids/small"):
            launch("grid", "small.py", "--cluster", "local")
        folder = tmp_path / "runs/grids/small"
        table = launch("status", folder)
        assert "failed" in table and "photos" in table and "missing" in table
        assert [json.loads((entry.path / "failed.json").read_text())["message"] for entry in read_folder(folder)[0][:1]]
        assert "photos" in launch("logs", folder)

    def test_what_is_cancelled_does_not_start_again_and_nothing_that_waits_starts(
        self, launch, tmp_path, repository, in_background
    ):
        """The grid runs in this process; another one cancels it as soon as its pretraining has begun."""
        config, endless = (
            repository / "configs/pretrain/us3l_resnet18_digits.py",
            [*TINY, "training.iterations=1000000"],
        )
        (tmp_path / "two.py").write_text(
            f'pretrain = dict(x=dict(config="{config}", overrides={endless}), y=dict(config="{config}"))'
        )
        folder = tmp_path / "runs/grids/two"
        launcher = f"{sys.executable} {repository}/tools/launch.py"
        canceller = subprocess.Popen(
            ["sh", "-c", f"until ls {tmp_path}/runs/nodes/*/job.json; do sleep 0.2; done; {launcher} cancel {folder}"],
            env={**os.environ, "PATH": os.defpath}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with pytest.raises(UserError, match="2 of 2 jobs failed, first two/"):
            launch("grid", "two.py", "--cluster", "local")
        assert "cancelling two/x" in canceller.communicate()[0]
        nodes = {entry.name: entry.path for entry in read_folder(folder)[0]}
        starts = {name: (path / "attempts.jsonl").read_text().count('"started"') for name, path in nodes.items()}
        assert starts == {"two/x": 1, "two/y": 0}
        assert "cancelled" in launch("status", folder)


class TestAStrangersGrid:
    """``retry`` starts this project's tools and nothing else that a grid.json names."""

    @pytest.fixture
    def folder(self, tmp_path, repository) -> Path:
        nodes = [Node("x", "pretrain", {}, Command("tools/pretrain.py", str(repository / command.PRETRAIN)))]
        launched = Launched(load_preset("local"), "again")
        write_grid(tmp_path / "x", place(Graph(nodes), tmp_path / "nodes"), launched)
        return tmp_path / "x"

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('"tools/pretrain.py"', '"/tmp/evil.py"', "node.command.tool: unknown '/tmp/evil.py'; valid: tools/"),
            (command.PRETRAIN, "../evil.py", "evil.py, which is not of this repository; expected --trust"),
            ('"setup": []', '"setup": ["rm -rf x"]', "would run setup ('rm -rf x',), which is not of this repository"),
            ('"kind": "pretrain"', '"kind": "evil"', "node.kind: unknown 'evil'"),
            ('"words": []', '"words": ["--tru"]', "would run --tru, which is not of this repository"),
            (
                '"overrides": []',
                '"overrides": ["data.name=subprocess:call"]',
                "would run data.name=subprocess:call, which",
            ),
            (
                '"overrides": []',
                '"overrides": ["objective.teacher.name=\'os.path:join\'"]',
                "would run objective.teacher",
            ),
        ],
    )
    def test_is_refused(self, launch, folder, old, new, message):
        assert "would retry x" in launch("retry", folder, "--dry-run")
        text = (folder / "grid.json").read_text()
        assert old in text
        (folder / "grid.json").write_text(text.replace(old, new))
        with pytest.raises(UserError) as raised:
            launch("retry", folder, "--dry-run")
        assert message in str(raised.value) and "\n" not in str(raised.value)

    def test_replaces_no_folder_of_another(self, launch, tmp_path):
        """Where results are collected, what was there goes: only what a job of a grid has made."""
        node = Node("x", "tables", {}, Command("tools/tables.py", "{output}/results"), collect=("x",))
        entries = place(Graph([node]), tmp_path / "nodes")
        write_grid(tmp_path / "x", entries, Launched(load_preset("local"), "again"))
        results = entries[0].path / "results"
        results.mkdir(parents=True)
        with pytest.raises(UserError, match=f"would replace {results}, which no job of a grid made; expected --trust"):
            launch("retry", tmp_path / "x", "--dry-run")
        (entries[0].path / "job.json").write_text("{}")
        assert "would retry x" in launch("retry", tmp_path / "x", "--dry-run")


@pytest.mark.parametrize(
    "word",
    [
        "objective.teacher.name=timm:resnet18",
        "backbone.name=tests.pretrain.toy:Toy",
        "--help",
        "x=a:3",
        "data.root=a:/b",
    ],
)
def test_words_that_run_nothing_of_others_need_no_trust(word):
    assert not names_foreign(word)


def test_the_tool_itself_exits_with_2_and_one_line(tmp_path):
    done = tool("launch", "status", tmp_path, cwd=tmp_path)
    assert (
        done.returncode == 2
        and done.stderr == f"error: {tmp_path} is no folder that tools/launch.py made: it holds no grid.json\n"
    )
    assert not Path(tmp_path / "runs").exists()
