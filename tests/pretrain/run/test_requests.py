"""What is asked of a run while it works: signals and the clock."""

import os
import signal
import time

import pytest
import torch

from pretrain.run.checkpoint import newest_checkpoint
from pretrain.run.distributed import World
from pretrain.run.requests import Asked, Requests
from pretrain.train import pretrain
from pretrain.trainer import Trainer
from tests.pretrain.helpers import tiny_config
from tests.pretrain.processes import run_processes
from tests.pretrain.test_train import assert_same_bytes
from tests.programs import python

ALONE = World(0, 1, torch.device("cpu"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_iteration_end_saves_and_says_how_to_go_on(tmp_path, monkeypatch, capsys, number, code):
    """In the middle of an interval of the log: resumed, it ends with the bytes of an undisturbed run."""
    whole = Trainer.step

    def step(self, batch, iteration):
        if iteration == 4:
            os.kill(os.getpid(), number)
        return whole(self, batch, iteration)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(Trainer, "step", step)
        pretrain(tiny_config(), tmp_path / "stopped", False, "cpu")
    assert ended.value.code == code
    assert newest_checkpoint(tmp_path / "stopped/checkpoints").name == "iteration_00000005.pt"
    said = capsys.readouterr()
    assert "stopped at iteration 5 of 9, saved; --resume continues" in said.out
    assert f"{number.name}: saving after this iteration" in said.err
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler), "the handlers are as before"
    pretrain(tiny_config(), tmp_path / "stopped", True, "cpu")
    pretrain(tiny_config(), tmp_path / "whole", False, "cpu")
    assert_same_bytes(tmp_path / "whole", tmp_path / "stopped")


def test_a_second_ctrl_c_ends_at_once():
    with Requests(ALONE, 1) as requests:
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.asked(met=False) == Asked(False, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)


def test_handlers_of_others_stay(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with Requests(ALONE, 1) as requests:
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [signal.SIGTERM] and not requests.asked(met=True).stop
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_clock_asks_for_checkpoints_that_change_nothing(tmp_path):
    with Requests(ALONE, 10) as requests:
        assert not requests.asked(met=True).save
        requests.saved -= 601
        assert requests.asked(met=False).save
        requests.done_saving()
        assert not requests.asked(met=True).save
    often = tiny_config(training={"checkpoint_minutes": 1e-9})
    assert often.hash == tiny_config().hash
    pretrain(often, tmp_path / "often", False, "cpu")
    pretrain(tiny_config(), tmp_path / "seldom", False, "cpu")
    assert_same_bytes(tmp_path / "seldom", tmp_path / "often")


def of_two(rank: int) -> torch.Tensor:
    with Requests(World(rank, 2, torch.device("cpu")), 10) as requests:
        if rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        apart, met = requests.asked(met=False), requests.asked(met=True)
    return torch.tensor([*apart, *met], dtype=torch.int64)


def test_all_processes_hear_what_one_was_asked_where_they_meet():
    assert [found.tolist() for found in run_processes(of_two, 2)] == [[0, 0, 0, signal.SIGTERM]] * 2


def test_ctrl_c_of_a_tool_is_one_word_and_code_130():
    code = "from pretrain.common import cli\ndef main(argv): raise KeyboardInterrupt\ncli.run(main)"
    done = python(code)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
