"""Which parameters a call has no use for, against what autograd finds, for every objective and kind of call."""

import pytest
import torch
from torch import nn

from pretrain.backbones import create_backbone
from pretrain.data.facts import ImageFacts
from pretrain.objectives.distillation import Distillation, DistillationSettings
from pretrain.objectives.mocov3 import MoCoV3, MoCoV3Settings
from pretrain.objectives.step import Batch, Objective
from pretrain.objectives.supervised import Supervised, SupervisedSettings
from pretrain.objectives.us3l import US3L, US3LSettings
from pretrain.teachers.settings import TeacherSettings

PRIVATE = (1.0, 0.75, 0.5, 0.25)
SIMSIAM = {"base": "mse", "aux_head": False, "momentum_base": False, "momentum_sub": False}


def us3l(private: tuple[float, ...] = (), **settings) -> US3L:
    backbone = create_backbone("resnet18", base_channels=32, private_norms=private)
    return US3L(backbone, US3LSettings(hidden=16, outputs=8, **settings))


def distillation(output: str = "features", **settings) -> Distillation:
    teacher = TeacherSettings(name="tests.pretrain.helpers:small_teacher", output=output)
    found = DistillationSettings(teacher=teacher, hidden=16, queue=4, base_outputs=8, **settings)
    return found.build(create_backbone("resnet18", base_channels=8), 1, 1.0, ImageFacts())


def mocov3(keys: str) -> MoCoV3:
    return MoCoV3(create_backbone("resnet18", base_channels=8), MoCoV3Settings(keys=keys, hidden=16, outputs=8))


def supervised(distill: bool) -> Supervised:
    backbone = create_backbone("resnet18", base_channels=32, private_norms=PRIVATE)
    return Supervised(backbone, SupervisedSettings(distill=distill), classes=3)


OBJECTIVES = {
    "us3l": us3l,
    "case 8": lambda: us3l(base="mse", distill="infonce"),
    "us+byol": lambda: us3l(base="mse", aux_head=False),
    "student z": lambda: us3l(base="mse", aux_head=False, student="z"),
    "us+simsiam": lambda: us3l(**SIMSIAM),
    "simsiam s-net": lambda: us3l(PRIVATE, **SIMSIAM, distill="none"),
    "us+simclr": lambda: us3l(distill="infonce", aux_head=False, momentum_base=False, momentum_sub=False),
    "us+moco v3": lambda: mocov3("own"),
    "us3l of vits": lambda: mocov3("base"),
    "seed": lambda: distillation(loss="relational", aux_head=False),
    "seed-mse": lambda: distillation(opposite=True),
    "tokens": lambda: distillation("tokens"),
    "distil and learn": lambda: distillation(base="infonce"),
    "distil and learn by mse": lambda: distillation(base="mse", loss="mse"),
    "s-net": lambda: supervised(False),
    "s-net+distill": lambda: supervised(True),
}


def batch(net: Objective) -> Batch:
    views = torch.randn(net.num_views, 3, 3, 32, 32)
    return Batch(tuple(views), torch.tensor([0, 1, 2]), net.teacher(views.flatten(0, 1)) if net.teacher else None)


def names(net: nn.Module, parameters: list[nn.Parameter]) -> set[str]:
    of = {parameter: name for name, parameter in net.named_parameters()}
    return {of[parameter] for parameter in parameters}


@pytest.mark.parametrize(
    ("widths", "base"), [([1.0], True), ([1.0, 0.5], True), ([0.75, 0.5, 0.25], True), ([0.5], False), ([1.0], False)]
)
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_unused_is_what_autograd_does_not_reach(kind, widths, base):
    torch.manual_seed(0)
    net = OBJECTIVES[kind]()
    found = batch(net)
    targets = None if base else net(found, [1.0]).targets
    trained = [p for p in net.parameters() if p.requires_grad]
    loss = sum(term.value for term in net.losses(found, widths, targets).terms)
    gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    unreached = [p for p, gradient in zip(trained, gradients, strict=True) if gradient is None]
    assert names(net, net.unused(widths, base)) == names(net, unreached)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_trainable_parameter_has_a_gradient_after_every_call(kind):
    """Those without a part in it one of 0: DistributedDataParallel waits for each."""
    net = OBJECTIVES[kind]()
    found = batch(net)
    first = net(found, [1.0])
    for call in (first, net(found, [0.5], first.targets)):
        unused = net.unused([1.0] if call is first else [0.5], base=call is first)
        net.zero_grad()
        sum(term.value for term in call.terms).backward()
        assert all(p.grad is not None for p in net.parameters() if p.requires_grad)
        assert all(not p.grad.any() for p in unused)
        assert (call.terms[0].name == "base") == (call is first)
