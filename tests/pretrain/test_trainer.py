"""The orders of backward passes and optimizer steps, in float64, and what a step makes of a batch."""

import pytest
import torch

from pretrain.data.loader import LoadedBatch
from pretrain.optim import GroupRegularisation, create_optimizer, made_later
from pretrain.run.distributed import World
from pretrain.trainer import Trainer
from tests.pretrain.helpers import tiny_config
from tests.pretrain.processes import run_processes

LAST = 90  # an iteration of the last stage of 100


def trainer(world: World | None = None, **training) -> Trainer:
    """In float64, where equal formulations stay equal."""
    torch.set_default_dtype(torch.float64)
    try:
        config = tiny_config(training={"batch_size": 8, "precision": "fp32", **training}, optimizer={"lr": 8.0})
        return Trainer(config, world or World(0, 1, torch.device("cpu")), 100)
    finally:
        torch.set_default_dtype(torch.float32)


def loaded(rows: slice = slice(None)) -> LoadedBatch:
    images = torch.randint(0, 256, (8, 2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batch = LoadedBatch(images, torch.arange(8), torch.stack([torch.zeros(8), torch.arange(8)], 1).long())
    return LoadedBatch(*(part[rows] for part in batch))


def step(found: Trainer, iteration: int, rows: slice = slice(None)):
    torch.set_default_dtype(torch.float64)
    try:
        return found.step(loaded(rows), iteration)
    finally:
        torch.set_default_dtype(torch.float32)


def weights(found: Trainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in found.model.named_parameters()}


@pytest.mark.parametrize("iteration", [0, LAST])
def test_low_memory_takes_the_same_steps(iteration):
    plain, low = trainer(), trainer(memory="low")
    for t in range(iteration, iteration + 3):
        a, b = step(plain, t), step(low, t)
        assert [term[:2] for term in a] == [term[:2] for term in b]
    torch.testing.assert_close(weights(low), weights(plain))


@pytest.mark.parametrize("update", ["per_width", "per_width_momentum"])
def test_an_optimizer_step_after_each_width_by_hand(update):
    """Largest first; each width's loss on the weights that the one before left, regularised each time. The momentum
    encoder moves once before all of them, or before each.

    ``losses`` leaves parameters without a part in it without a gradient, and so without regularisation and momentum.
    """
    found, reference = trainer(update=update), trainer()
    step(found, LAST)
    model, settings = reference.model, reference.config.optimizer
    optimizer = create_optimizer(settings, model, found.optimizer.param_groups[0]["lr"])
    regularisation = GroupRegularisation(model, model.backbone, settings)
    model.update_momentum(LAST / 100)
    torch.set_default_dtype(torch.float64)
    batch, targets = reference.prepare(loaded()), None
    torch.set_default_dtype(torch.float32)
    for position, width in enumerate(reference.sampler.widths(LAST)):
        if position and update == "per_width_momentum":
            model.update_momentum(LAST / 100)
        optimizer.zero_grad()
        (term,), targets = model.losses(batch, [width], targets)
        term.value.backward()
        regularisation.add_gradients()
        optimizer.step()
    torch.testing.assert_close(weights(found), weights(reference))
    torch.testing.assert_close(found.model.momentum_encoder.state_dict(), model.momentum_encoder.state_dict())
    accumulated = trainer()
    step(accumulated, LAST)
    assert not torch.allclose(weights(accumulated)["backbone.conv1.weight"], weights(found)["backbone.conv1.weight"])


def weights_of_process(rank: int, training: dict) -> dict[str, torch.Tensor]:
    found = trainer(World(rank, 2, torch.device("cpu")), **training)
    for t in (LAST, LAST + 1):
        step(found, t, slice(4 * rank, 4 * rank + 4))
    return weights(found)


@pytest.mark.parametrize("training", [{"memory": "low"}, {"update": "per_width"}], ids=str)
def test_two_processes_take_the_steps_of_one(training):
    """Low memory reduces once for all widths, per_width once for each."""
    one = trainer(chunks=2, **training)
    for t in (LAST, LAST + 1):
        step(one, t)
    for found in run_processes(weights_of_process, 2, training):
        torch.testing.assert_close(found, weights(one))


def test_the_views_of_a_batch_are_normalised_and_channels_last():
    found = trainer()
    batch = found.prepare(loaded())
    assert len(batch.views) == 2 and batch.views[0].is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.tolist() == list(range(8))
    assert not torch.equal(batch.views[0], batch.views[1])


def test_the_warmup_counts_in_epochs():
    config = tiny_config(optimizer={"warmup_epochs": 2.0, "lr": 1.0})
    found = Trainer(config, World(0, 1, torch.device("cpu")), 100, epoch_iterations=5)
    found.step(loaded(), 5)
    assert found.optimizer.param_groups[0]["lr"] == pytest.approx(8 / 512 * 5 / 10)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_the_size_of_a_checkpoint_counts_the_buffers_that_its_optimizer_makes(name):
    found = Trainer(tiny_config(optimizer={"name": name, "alpha": 0.0}), World(0, 1, torch.device("cpu")), 100)
    expected, there = found.state_bytes(), len(found.optimizer.state)
    assert (there > 0) == (made_later(found.config.optimizer) == 0), "what is there already is not made later"
    found.step(loaded(), LAST)  # of all parts
    state = found.state()
    buffers = [v for of in state["optimizer"]["state"].values() for v in of.values() if torch.is_tensor(v) and v.dim()]
    assert expected == sum(t.numel() * t.element_size() for t in [*state["model"].values(), *buffers])
