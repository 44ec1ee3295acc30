"""``training.compile = "graphs"``: a step whose base network is replayed is the step itself."""

import dataclasses

import pytest
import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.data.facts import ImageFacts
from pretrain.data.loader import LoadedBatch
from pretrain.objectives.mocov3 import MoCoV3Settings
from pretrain.objectives.step import Batch
from pretrain.objectives.supervised import SupervisedSettings
from pretrain.objectives.us3l import US3LSettings
from pretrain.run.distributed import World
from pretrain.run.graphs import ReplayedBase, replayed
from pretrain.trainer import Trainer
from tests.nullcuda.program import on_null_device
from tests.pretrain.helpers import tiny_config
from tests.requirements import requires

HEADS = {"hidden": 16, "outputs": 8}
OBJECTIVES = {
    "us3l": US3LSettings(**HEADS),
    "byol": US3LSettings(base="mse", **HEADS),
    "own targets": US3LSettings(distill="none", aux_head=False, momentum_base=False, momentum_sub=False, **HEADS),
    "mocov3": MoCoV3Settings(**HEADS),
    "supervised": SupervisedSettings(distill=True),
}
CPU, GPU = World(0, 1, torch.device("cpu")), World(0, 1, torch.device("cuda"))


def recorded(module: nn.Module, arguments: tuple):
    """As a CUDA graph: it reads its arguments where those of the recording lay, and writes over its former results."""
    results = [found.detach().clone() for found in module(*arguments)]

    class Replayed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value, targets):
            for there, found in zip(results, (value, targets), strict=True):
                there.copy_(found)
            return tuple(there.detach() for there in results)

        @staticmethod
        def backward(ctx, grad, _):
            return grad, None

    def replay(*new):
        for there, value in zip(arguments, new, strict=True):
            there.copy_(value)
        return Replayed.apply(*module(*arguments))

    return replay


def trained(config, replay: bool) -> tuple[Trainer, list]:
    """The trainer after 8 steps, and the terms of all of them, looked at afterwards, as for a line of the log."""
    trainer = Trainer(config, CPU, iterations=8, classes=10)
    if replay:
        images = ImageFacts(10, image_size=config.data.image_size)
        trainer.ddp = ReplayedBase(trainer.model, trainer.example(images), 1.0, recorded)
    terms = []
    for iteration in range(8):
        generator = torch.Generator().manual_seed(iteration)
        images = torch.randint(0, 256, (8, trainer.model.num_views, 3, 32, 32), dtype=torch.uint8, generator=generator)
        keys = torch.stack([torch.full((8,), iteration), torch.arange(8)], 1)
        terms += trainer.step(LoadedBatch(images, torch.arange(8), keys), iteration)
    return trainer, [(term.name, term.width, float(term.value)) for term in terms]


@pytest.mark.parametrize(
    ("name", "training"),
    [*((name, {}) for name in OBJECTIVES), ("us3l", {"memory": "low", "chunks": 2}), ("byol", {"update": "per_width"})],
)
def test_a_training_with_a_replayed_base_network_has_the_same_weights(name, training):
    config = tiny_config(training=training, optimizer={"lr": 8.0})
    config = dataclasses.replace(config, objective=OBJECTIVES[name])
    (plain, expected), (again, terms) = trained(config, replay=False), trained(config, replay=True)
    assert [term[:2] for term in terms] == [term[:2] for term in expected]
    assert [term[2] for term in terms] == pytest.approx([term[2] for term in expected], rel=1e-4)
    for key, value in plain.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[key], value, rtol=1e-4, atol=1e-5)


def test_every_parameter_has_a_gradient_after_a_step_of_the_base_network_alone():
    trainer = Trainer(tiny_config(), CPU, iterations=8)
    step = ReplayedBase(trainer.model, trainer.example(ImageFacts(image_size=32)), 1.0, recorded)
    step(trainer.example(ImageFacts(image_size=32)), [1.0]).terms[0].value.backward()
    assert all(p.grad is not None for p in trainer.model.parameters() if p.requires_grad)


def test_a_step_that_begins_at_another_width_is_not_replayed():
    trainer = Trainer(tiny_config(), CPU, iterations=8)
    example = trainer.example(ImageFacts(image_size=32))

    def never(module, arguments):
        return lambda *new: pytest.fail("replayed")

    assert ReplayedBase(trainer.model, example, 1.0, never)(example, [0.75, 0.5]).terms[0].width == 0.75


def test_the_backward_pass_of_a_recording_is_not_under_autocast():
    """As that of every step; a loss in fp32 would have gradients in bf16."""
    trainer, said = Trainer(tiny_config(), CPU, iterations=8), []

    def ask(module, arguments):
        module(*arguments)
        said.append(torch.is_autocast_enabled("cpu"))
        return None

    losses = trainer.model.losses
    trainer.model.losses = lambda *given: said.append(torch.is_autocast_enabled("cpu")) or losses(*given)
    ReplayedBase(trainer.model, trainer.example(ImageFacts(image_size=32)), 1.0, ask, "bf16")
    assert said == [True, False]


def test_views_of_the_example_lie_apart():
    views = Trainer(tiny_config(), CPU, iterations=8).example(ImageFacts(image_size=32)).views
    assert len({view.data_ptr() for view in views}) == len(views) == 2


class TestRefused:
    def test_on_a_cpu(self):
        with pytest.raises(UserError, match="expected a GPU, not the cpu"):
            Trainer(tiny_config(training={"compile": "graphs"}), CPU, iterations=8)

    def test_losses_that_ask_other_processes(self):
        model = Trainer(dataclasses.replace(tiny_config(), objective=OBJECTIVES["mocov3"]), CPU, iterations=8).model
        with pytest.raises(UserError, match="no losses or norms that ask other processes"):
            replayed(model, Batch((), torch.empty(0)), 1.0, World(0, 2, torch.device("cuda")), "fp32")

    def test_a_base_network_of_changing_width(self):
        config = tiny_config(sampling={"sandwich": False})
        trainer = Trainer(config, CPU, iterations=8)
        with pytest.raises(UserError, match="expected sampling.sandwich to be True"):
            replayed(trainer.model, Batch((), torch.empty(0)), trainer.sampler.base_width, GPU, "fp32")

    def test_another_word(self):
        with pytest.raises(UserError, match="training.compile.*'graphs'"):
            tiny_config(training={"compile": "graph"})


def launches() -> dict:
    """By precision: of steps of one and of three networks, without and with graphs."""
    import warnings

    from benchmark.launches import random_batch
    from tests.nullcuda import counting

    warnings.filterwarnings("error", message=".*AccumulateGrad")  # streams that wait for one another

    def counted(trainer: Trainer, iteration: int) -> dict:
        for t in (iteration - 1, iteration):  # the first allocates
            counting.reset()
            trainer.step(random_batch(8, 2, 32), t)
        return vars(counting.counts())

    found, world = {}, World(0, 1, torch.device("cuda:0"))
    for precision in ("fp32", "bf16", "fp16"):
        training = ({"compile": value, "precision": precision} for value in (False, "graphs"))
        trainers = [Trainer(tiny_config(training=settings), world, iterations=100) for settings in training]
        found[precision] = [[counted(trainer, iteration) for trainer in trainers] for iteration in (1, 99)]
    return found


@requires("nullcuda")
def test_on_the_null_device_nothing_waits_within_a_capture_and_a_step_asks_so_much_less():
    for of_one, of_three in on_null_device(launches).values():
        saved = [plain["operations"] - graphs["operations"] for plain, graphs in (of_one, of_three)]
        assert saved[0] > 0.6 * of_one[0]["operations"]
        assert saved[1] == pytest.approx(saved[0], rel=0.1)
        assert not any(found[name] for found in (*of_one, *of_three) for name in ("syncs", "pageable"))
