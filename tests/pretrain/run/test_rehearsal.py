"""The heaviest step, taken before the first: it leaves no trace, and what does not fit is one line."""

import pytest
import torch

from pretrain.backbones import create_backbone
from pretrain.common.errors import OutOfMemoryError
from pretrain.run.distributed import World
from pretrain.run.rehearsal import black_images
from pretrain.sampling import WidthSampler
from pretrain.trainer import Trainer
from tests.nullcuda.program import on_null_device
from tests.pretrain.helpers import tiny_config
from tests.pretrain.test_trainer import loaded
from tests.requirements import requires

MODES = ({}, {"memory": "low"}, {"update": "per_width"}, {"precision": "fp16"})


def trainer(**changes) -> Trainer:
    return Trainer(tiny_config(**changes), World(0, 1, torch.device("cpu")), 100)


def flat(state: dict) -> list:
    return [leaf for value in state.values() for leaf in (flat(value) if isinstance(value, dict) else [value])]


@pytest.mark.parametrize("training", MODES, ids=str)
def test_a_rehearsal_leaves_no_trace(training):
    rehearsed, plain = trainer(training=training), trainer(training=training)
    rehearsed.rehearse(black_images(rehearsed), rehearsed.sampler.heaviest())
    assert all(p.grad is None for p in rehearsed.model.parameters())
    for found in (rehearsed, plain):
        found.step(loaded(), 50)
    pairs = zip(flat(rehearsed.state()), flat(plain.state()), strict=True)
    assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1.0, 1.0, 0.75]),
        ({"dynamic": False}, [1.0, 1.0, 1.0, 0.25]),
        ({"sandwich": False}, [1.0, 1.0, 1.0]),
        ({"networks": 1}, [1.0]),
        ({"networks": 2}, [1.0, 0.75]),
        ({"fixed": (0.5, 1.0)}, [1.0, 0.5]),
    ],
)
def test_no_step_of_the_schedule_is_heavier(settings, expected):
    space = create_backbone("resnet18", base_channels=16).width_space(0.25, 1.0)
    sampler = WidthSampler(space, 101, 0, **settings)
    assert sampler.heaviest() == expected
    for iteration in range(101):
        widths = sampler.widths(iteration)
        assert len(widths) <= len(expected) and all(a <= b for a, b in zip(widths, expected))


def rehearsals(batch_size: int) -> list:
    """Peaks of the rehearsal and of the steps of every stage; or the error's one line."""
    from pretrain.run.rehearsal import rehearse

    config = tiny_config(training={"batch_size": batch_size, "chunks": 1})
    found = Trainer(config, World(0, 1, torch.device("cuda:0")), 100)
    try:
        rehearse(found)
    except OutOfMemoryError as error:
        return [str(error)]
    peaks = [torch.cuda.max_memory_allocated()]
    for iteration in (0, 30, 60, 90):
        torch.cuda.reset_peak_memory_stats()
        found.step(black_images(found), iteration)
        peaks.append(torch.cuda.max_memory_allocated())
    return peaks


@requires("nullcuda")
def test_it_needs_what_the_heaviest_step_needs():
    rehearsal, *steps = on_null_device(rehearsals, 64)
    assert max(steps) < 1.001 * rehearsal < 1.2 * max(steps)  # an optimizer step adds some kB


@requires("nullcuda")
def test_what_does_not_fit_is_one_line_that_says_what_helps():
    [line] = on_null_device(rehearsals, 4096, gibibytes=0.5)
    assert "\n" not in line and "of 0.5 GiB of GPU memory" in line
    assert "training.batch_size=4096" in line and "training.memory=low" in line


def test_its_images_have_the_channels_of_the_data():
    gray = trainer(data={"channels": 1, "mean": (0.3,), "std": (0.4,)})
    assert black_images(gray).images.shape[1:3] == (2, 1)
    gray.rehearse(black_images(gray), gray.sampler.heaviest())
