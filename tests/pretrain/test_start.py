"""Where a run begins: nothing that is there is lost, and what it means to go on is said."""

import json
import os
import subprocess

import pytest
import torch

from pretrain import UserError, load_universal
from pretrain.common.errors import NonFiniteLossError
from pretrain.run.checkpoint import load_checkpoint, newest_checkpoint
from pretrain.run.distributed import World
from pretrain.start import check_space
from pretrain.train import pretrain
from pretrain.trainer import Trainer, recorded_chunks
from tests.pretrain.helpers import tiny_config

CPU = torch.device("cpu")


def train(folder, resume=False, **changes):
    return pretrain(tiny_config(**changes), folder, resume, "cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    train(folder)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    subprocess.run(["cp", "-a", f"{finished}/.", tmp_path], check=True)
    return tmp_path


def test_a_resume_that_finds_only_damaged_checkpoints_refuses_and_loses_nothing(copy):
    for path in (copy / "checkpoints").glob("*.pt"):
        path.write_bytes(path.read_bytes()[:-1])
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(UserError, match="all 2 checkpoints .* are damaged"):
        train(copy, resume=True)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_universal_checkpoint_is_not_replaced_because_its_run_is_gone(copy, resume):
    subprocess.run(["rm", "-r", copy / "checkpoints"], check=True)
    before = (copy / "universal.safetensors").read_bytes()
    with pytest.raises(UserError, match="which a new run would replace"):
        train(copy, resume=resume)
    assert (copy / "universal.safetensors").read_bytes() == before


def test_a_finished_run_is_left_as_it_is_with_widths_that_were_calibrated_since(copy, capsys):
    net = load_universal(copy)
    net.calibrate([torch.randn(4, 3, 32, 32)], 0.75)
    net.save(copy / "universal.safetensors")
    train(copy, resume=True)
    assert "finished already" in capsys.readouterr().out
    assert load_universal(copy).calibrated_widths == [1.0, 0.75, 0.5]


def test_a_finished_run_goes_on_for_longer_and_says_what_that_means(copy, capsys):
    weights = load_universal(copy).hash
    train(copy, resume=True, training={"iterations": 14})
    out = capsys.readouterr().out
    assert "finished at 9 iterations, going on to 14: learning rate" in out
    assert "not be what 14 iterations from the start would be" in out
    net = load_universal(copy)
    assert net.hash != weights and net.metadata["iterations"] == 14 and net.metadata["continued"] == [9]
    lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [2, 3, 4, 6, 8, 9, 10, 12, 14]
    schedule = Trainer(tiny_config(training={"iterations": 14}), World(0, 1, CPU), 14, epoch_iterations=5)
    assert [line["lr"] for line in lines[6:]] == [schedule.lr_at(line["iteration"] - 1, 14) for line in lines[6:]]
    train(copy, resume=True, training={"iterations": 16})
    assert load_universal(copy).metadata["continued"] == [9, 14]


def test_a_run_that_is_shorter_or_not_finished_does_not_change_its_length(copy):
    with pytest.raises(UserError, match="training.iterations differs"):
        train(copy, resume=True, training={"iterations": 8})
    newest = newest_checkpoint(copy / "checkpoints")
    newest.unlink()
    with pytest.raises(UserError, match="at iteration 8 of 9; expected it to be finished"):
        train(copy, resume=True, training={"iterations": 14})


def test_a_run_goes_on_with_the_images_that_it_began_with(copy, tmp_path):
    """Their number, classes and labels tell; a state that does not record them is taken."""
    found = newest_checkpoint(copy / "checkpoints")
    state = load_checkpoint(found, CPU)
    Trainer(tiny_config(), World(0, 1, CPU), 9, labels=state["labels"]).load(state)
    with pytest.raises(UserError, match="belongs to a run on other images.*expected the data.root"):
        Trainer(tiny_config(), World(0, 1, CPU), 9, labels="other").load(state)
    Trainer(tiny_config(), World(0, 1, CPU), 9, labels="other").load({**state, "labels": None})


def test_another_number_of_processes_keeps_the_chunks_or_is_refused(copy):
    """A run of two processes, hence of two chunks, goes on in one process with both; three can't share them."""
    state = load_checkpoint(newest_checkpoint(copy / "checkpoints"), CPU) | {"world_size": 2, "chunks": 2}
    assert recorded_chunks(state) == 2
    old = {key: value for key, value in state.items() if key != "chunks"}
    assert recorded_chunks(old) == 2, "of a state that does not record them"
    trainer = Trainer(tiny_config(), World(0, 1, CPU), 9, chunks=2)
    assert trainer.chunks == 2 and trainer.resolved()["training"]["chunks"] == 2
    with pytest.warns(UserWarning, match="world_size 1 instead of 2"):
        trainer.load(state)
    explicit = Trainer(tiny_config(training={"chunks": 2}), World(0, 1, CPU), 9, chunks=2)
    with pytest.warns(UserWarning, match="world_size 1 instead of 2"):
        explicit.load(state)
    with pytest.raises(UserError, match="begun with batches in 2 chunks, which 3 processes cannot share"):
        Trainer(tiny_config(), World(0, 3, CPU), 9, chunks=2)


@pytest.mark.parametrize("settings", [{"sync_norms": True}, {"gather": True}])
def test_what_is_of_all_processes_together_goes_on_with_as_many(copy, settings):
    """In one process two chunks have norms and negatives of their own, and would be another loss."""
    config = tiny_config(objective=settings)
    state = load_checkpoint(newest_checkpoint(copy / "checkpoints"), CPU)
    state |= {"world_size": 2, "chunks": 2, "config": config.as_dict()}
    with pytest.raises(UserError, match="are of all of its 2 processes together.*expected 2 processes"):
        Trainer(config, World(0, 1, CPU), 9, chunks=2).load(state)
    Trainer(config, World(0, 1, CPU), 9, chunks=1).load({**state, "world_size": 1, "chunks": 1})


def test_what_the_universal_checkpoint_cannot_say_is_refused_before_the_training(tmp_path):
    for name in ("a\tb", "a" * 201):
        with pytest.raises(UserError, match="universal checkpoint cannot be written: its metadata are wrong: method"):
            pretrain(tiny_config(method=name), tmp_path / "run", False, "cpu")
        assert not (tmp_path / "run").exists()


def test_a_run_that_diverges_says_so_whatever_notices_it_first(tmp_path, monkeypatch):
    """The weights are infinite before any loss is: the monitor's embeddings tell."""
    whole = Trainer.step

    def step(self, batch, iteration):
        terms = whole(self, batch, iteration)
        if iteration == 2:
            self.model.backbone.conv1.weight.data.fill_(float("inf"))
        return terms

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(
        NonFiniteLossError, match=r"embeddings of width 1 became non-finite by iteration 3; .*_00000002"
    ):
        train(tmp_path)


def test_a_disk_without_room_for_the_checkpoints_is_refused_at_the_start(tmp_path):
    with pytest.raises(UserError, match=r"MB are free in .*; expected 3000000000000 MB for 3 checkpoints"):
        check_space(tmp_path, 10**18)


@pytest.mark.parametrize(
    ("name", "message"), [("file", "File exists"), ("file/run", "Not a directory"), (300 * "x", "File name too long")]
)
def test_a_folder_that_cannot_be_is_one_line(tmp_path, name, message):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=rf"cannot write .*: {message}"):
        train(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder]).returncode:
        pytest.skip("needs root and the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_fills_up_ends_in_one_line_leaves_nothing_partial_and_goes_on_later(small_disk, finished, tmp_path):
    """Another program fills it in the middle of the run; once there is room again, the same bytes come out."""
    filler, run = small_disk / "filler", small_disk / "run"
    whole = Trainer.step

    def step(self, batch, iteration):
        if iteration == 5:
            free = os.statvfs(small_disk)
            filler.write_bytes(bytes(free.f_bavail * free.f_frsize))
        return whole(self, batch, iteration)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="No space left on device") as caught:
        patch.setattr(Trainer, "step", step)
        train(run)
    assert "\n" not in str(caught.value)
    assert not [path for path in run.rglob("*") if path.name.startswith(".")], "no lock, nothing partial"
    filler.unlink()
    train(run, resume=True)
    assert (run / "universal.safetensors").read_bytes() == (finished / "universal.safetensors").read_bytes()


def test_one_line_at_the_start_of_a_read_only_disk(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(UserError, match="cannot write .*Read-only file system"):
        train(small_disk / "run")
