"""``tools/launch.py`` without a cluster: dry runs, this machine, and mistakes that are answered by one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from slurm import command
from slurm.command import SUBCOMMANDS
from slurm.folder import read_grid, read_json
from tests.pretrain.helpers import universal
from tests.requirements import requires

pytestmark = requires("submitit")
TINY = [
    "training.iterations=4", "training.batch_size=8", "training.threads=1", "backbone.base_channels=8",
    "data.images_per_class=4", "objective.hidden=16", "calibration.batches=1", "calibration.batch_size=8",
    "calibration.widths=[1.0,0.25]",
]  # fmt: skip


@pytest.fixture
def launch(capsys, repository, tmp_path, monkeypatch):
    """The tool in this process, on a machine without SLURM: what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}:/nowhere")

    def run(*arguments) -> str:
        capsys.readouterr()
        command.main([str(argument) for argument in arguments])
        return capsys.readouterr().out

    return run


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
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
        assert read_json(tmp_path / "run/config.json")["training"]["chunks"] == 2, "two processes"
        assert "nothing to submit" in launch(*order)
        table = launch("status", tmp_path / "run")
        assert "done" in table and "4/4" in table
        with pytest.raises(UserError, match=r"holds another run .its settings differ.; use another --work-dir"):
            launch(*order, "optimizer.lr=0.1")

    def test_what_fails_says_why_and_what_needs_it_is_left_out(self, launch, tmp_path, repository):
        overrides = [*TINY, "data.name=folder", "data.root=/nowhere"]
        config = repository / "configs/pretrain/us3l_resnet18_digits.py"
        (tmp_path / "small.py").write_text(
            f'pretrain = dict(x=dict(config="{config}", overrides={overrides}))\n'
            'transfer = [dict(of="x", target="digits", widths=[1.0])]'
        )
        with pytest.raises(UserError, match=r"2 of 2 jobs failed, first small/x; see launch.py status .*grids/small"):
            launch("grid", "small.py", "--cluster", "local")
        folder = tmp_path / "runs/grids/small"
        table = launch("status", folder)
        assert "failed" in table and "/nowhere" in table and "missing" in table
        assert [json.loads((entry.path / "failed.json").read_text())["message"] for entry in read_grid(folder)[0][:1]]
        assert "/nowhere" in launch("logs", folder)


def test_the_tool_itself_exits_with_2_and_one_line(repository, tmp_path):
    tool = [sys.executable, str(repository / "tools/launch.py"), "status", str(tmp_path)]
    done = subprocess.run(tool, cwd=tmp_path, capture_output=True, text=True)
    assert (
        done.returncode == 2
        and done.stderr == f"error: {tmp_path} is no folder that tools/launch.py made: it holds no grid.json\n"
    )
    assert not Path(tmp_path / "runs").exists()
