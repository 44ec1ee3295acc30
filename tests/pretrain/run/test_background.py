"""Checkpoints that are written beside the training: what was, whole, in order, and no error goes unheard."""

import threading

import pytest
import torch

from pretrain.common.errors import NonFiniteLossError, UserError
from pretrain.run.background import BackgroundCheckpoints
from pretrain.run.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint

CPU = torch.device("cpu")


def allow() -> None:
    pass


def refuse() -> None:
    raise UserError("cannot write there: No space left on device")


def test_it_holds_what_was_when_it_was_asked_for_and_the_training_goes_on_meanwhile(tmp_path):
    go, weight = threading.Event(), torch.zeros(3)
    with BackgroundCheckpoints(tmp_path, go.wait) as checkpoints:
        checkpoints.save(1, {"model": {"weight": weight}, "lr": 0.5})
        weight.add_(1)
        assert newest_checkpoint(tmp_path) is None, "not yet written"
        go.set()
        checkpoints.wait()
        state = load_checkpoint(newest_checkpoint(tmp_path), CPU)
    assert state == {"iteration": 1, "lr": 0.5, "model": state["model"]}
    assert torch.equal(state["model"]["weight"], torch.zeros(3))


def test_each_waits_for_the_one_before_and_the_end_for_the_last(tmp_path):
    order = []
    with BackgroundCheckpoints(tmp_path, lambda: order.append(threading.current_thread().name)) as checkpoints:
        for iteration in (1, 2, 3):
            checkpoints.save(iteration, {"x": torch.ones(1)})
            assert iteration == 1 or (tmp_path / f"iteration_0000000{iteration - 1}.pt").exists()
    assert len(order) == 3 and "MainThread" not in order
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"iteration_0000000{i}.{suffix}" for i in (2, 3) for suffix in ("pt", "sha256")]


@pytest.mark.parametrize("where", ["save", "wait", "end", "exit"])
def test_an_error_is_raised_once_by_whatever_waits_next(tmp_path, where):
    with pytest.raises(UserError, match="No space left"), BackgroundCheckpoints(tmp_path, refuse) as checkpoints:
        checkpoints.save(1, {})
        if where == "save":
            checkpoints.save(2, {})
        elif where == "wait":
            checkpoints.wait()
        elif where == "exit":
            raise SystemExit(143)  # it would say that everything was saved
    assert not list(tmp_path.iterdir())


def test_it_does_not_hide_the_error_that_ends_the_training(tmp_path, capsys):
    with pytest.raises(NonFiniteLossError, match="diverged"), BackgroundCheckpoints(tmp_path, refuse) as checkpoints:
        checkpoints.save(1, {})
        raise NonFiniteLossError("diverged")
    assert capsys.readouterr().err == "error: cannot write there: No space left on device\n"


def test_the_bytes_are_those_of_a_state_that_was_waited_for(tmp_path):
    """Strides, tensors that are there twice, and what torch notes of its modules stay as they are."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    model = network.state_dict()
    model["again"] = model["0.weight"].detach()
    state = {"model": model, "optimizer": optimizer.state_dict(), "terms": [(1, torch.tensor(0.5))]}
    whole = save_checkpoint(tmp_path / "whole", 7, state)
    with BackgroundCheckpoints(tmp_path / "beside", allow) as checkpoints:
        checkpoints.save(7, state)
    assert (tmp_path / "beside" / whole.name).read_bytes() == whole.read_bytes()
