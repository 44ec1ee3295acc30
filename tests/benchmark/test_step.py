"""tools/benchmark.py step: the naive arrangement computes the same, and operations are counted as costs say."""

import json
from contextlib import contextmanager, nullcontext

import pytest
import torch

from benchmark import step
from benchmark.arrangement import arrangement, step_config, step_flops
from benchmark.naive_step import NaiveStep
from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.plain.cost import cost
from pretrain.run.allocator import FOR_CPU
from tests.benchmark.arguments import step_arguments
from tests.programs import tool


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_naive_step_leaves_the_weights_of_a_step_after_each_width(float64):
    """In float64, where equal formulations stay equal, over three iterations."""
    args = step_arguments()
    ours, other = (arrangement(step_config(args, update="per_width"), args.widths, "cpu") for _ in range(2))
    before = torch.cat([p.detach().flatten() for p in other.trainer.model.parameters()])
    naive = NaiveStep(other.trainer.model, other.trainer.config, other.trainer.lr)
    for _ in range(3):
        ours()
        naive.step(other.batch.views, args.widths)
    names = dict(ours.trainer.model.named_parameters())
    for name, parameter in other.trainer.model.named_parameters():
        torch.testing.assert_close(parameter, names[name], msg=name)
    after = torch.cat([p.detach().flatten() for p in other.trainer.model.parameters()])
    assert (after - before).norm() > 1e-3


def test_operations_are_those_of_two_views_forward_and_twice_as_many_backward():
    args = step_arguments(base_channels=32, widths=[1.0])
    backbone = create_backbone("resnet18", "cifar_half", base_channels=32)
    macs = cost(backbone.plain(backbone.channels(1.0)), args.image_size).macs
    stem = 3 * 32 * 9 * 8 * 8  # the images take no gradient
    projector = 256 * 2048 + 2048**2 + 2048 * 256  # g is idle: the base network runs alone
    views = 2 * args.batch
    expected = 2 * views * ((macs + projector) * (3 + 1) - stem)  # and forward through the momentum encoder
    assert step_flops(args) == pytest.approx(expected, rel=0.01)


def test_every_arrangement_is_timed(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    found = step.measure(step_arguments(repeats=1, compile=False, without_naive=False))
    assert [row["arrangement"] for row in found["rows"]] == ["naive", "per_width", "accumulate"]
    assert all(row["seconds"] > 0 for row in found["rows"])
    assert found["rows"][2]["times_naive"] == found["naive_seconds_per_step"] / found["seconds_per_step"]


def test_only_the_naive_step_starts_without_what_keeps_memory(monkeypatch):
    started = []

    @contextmanager
    def recorded(make, *arguments, without=()):
        started.append(list(without))
        yield lambda: None

    monkeypatch.setattr(step, "apart", recorded)
    monkeypatch.setenv("GLIBC_TUNABLES", FOR_CPU["GLIBC_TUNABLES"])
    with step.arrangements(step_arguments(compile=True, without_naive=False)) as steps:
        assert list(steps) == ["naive", "naive, memory kept", "per_width", "accumulate", "accumulate, compiled"]
    assert started == [["GLIBC_TUNABLES"], [], [], [], []]


def test_a_users_own_setting_of_memory_is_every_arrangements(monkeypatch):
    monkeypatch.setattr(step, "apart", lambda make, *arguments, without=(): nullcontext(list(without)))
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    with step.arrangements(step_arguments(compile=False, without_naive=False)) as steps:
        assert steps == {"naive": [], "per_width": [], "accumulate": []}


def test_bad_steps_are_refused():
    with pytest.raises(UserError, match="unknown backbone 'resnet19'.*resnet18"):
        step_config(step_arguments(backbone="resnet19"))
    with pytest.raises(UserError, match="0.1 is outside"):
        step_config(step_arguments(widths=[1.0, 0.1]))
    with pytest.raises(UserError, match="--repeats 0"):
        step.measure(step_arguments(repeats=0))


SMALL = ["--base-channels", "8", "--batch", "4", "--image-size", "16", "--repeats", "1", "--threads", "1"]


def test_json_has_the_seconds_of_a_step():
    done = tool("benchmark", "step", *SMALL, "--widths", "1", "0.5", "--without-naive", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seconds_per_step"] > 0


def test_a_mistake_is_one_line_and_code_2():
    done = tool("benchmark", "stap")
    assert (done.returncode, done.stderr) == (2, "error: unknown benchmark 'stap'; did you mean 'step'?\n")
