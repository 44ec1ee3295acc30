"""SEED and SEED-MSE by their definitions in float64, and what they refuse."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.common.settings import read
from pretrain.data.facts import ImageFacts
from pretrain.objectives.distillation import Distillation
from pretrain.objectives.seed import SeedSettings
from pretrain.objectives.step import Batch
from pretrain.slimmable.norms.statistics import BatchStatistics
from tests.pretrain.helpers import MEAN, STD, universal, universal_with_projector


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return universal_with_projector().save(tmp_path_factory.mktemp("teacher") / "universal.safetensors")


def model(file: Path, loss: str = "queue", queue: int = 6) -> Distillation:
    torch.manual_seed(0)
    settings = SeedSettings(teacher=str(file), loss=loss, hidden=16, queue=queue)
    images = ImageFacts(mean=tuple(MEAN), std=tuple(STD))  # those of the teacher, which takes the views as they are
    net = settings.build(create_backbone("resnet18", base_channels=16), 1, 1.0, images).double()
    net.teacher.network.double()
    return net


def batch(net: Distillation, count: int = 4) -> Batch:
    x = torch.randn(net.num_views, count, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(tuple(x), torch.zeros(count), net.teacher(x.flatten(0, 1)))


def project(net: Distillation, x: torch.Tensor) -> torch.Tensor:
    """Of unit length, by the teacher's checkpoint itself."""
    return normalize(net.teacher.network.universal.project(x), dim=1)


def student(net: Distillation, x: torch.Tensor, width: float, *heads) -> torch.Tensor:
    y = net.backbone(x, width, BatchStatistics())
    for head in (net.projector, *heads):
        y = head(y, BatchStatistics())
    return y


def test_seed_is_the_cross_entropy_of_two_softmaxes_over_teacher_and_queue(file):
    net, width = model(file), 0.5
    (x,) = batch(net).views
    queue, s = net.queue.clone(), normalize(student(net, x, width), dim=1)
    t = project(net, x)
    losses = []
    for i in range(4):
        candidates = torch.cat([t[i : i + 1], queue])
        p = torch.softmax(candidates @ t[i] / 1e-4, 0)
        losses.append(-(p * torch.log(torch.softmax(candidates @ s[i] / 0.5, 0))).sum())
    (term,), _ = net(batch(net), [width])
    torch.testing.assert_close(term.value, torch.stack(losses).mean())


def test_the_teachers_projections_push_the_oldest_out_of_the_queue(file):
    net = model(file, queue=6)
    before, t = net.queue.clone(), project(net, batch(net).views[0])
    net.finish_step(net(batch(net), [1.0]).targets)
    torch.testing.assert_close(net.queue, torch.cat([t, before[4:]]))
    net.finish_step(net(batch(net), [1.0]).targets)
    torch.testing.assert_close(net.queue[4:], t[:2])
    torch.testing.assert_close(net.queue[:2], t[2:])
    assert int(net.position) == 2


def test_seed_mse_is_the_negative_cosine_of_opposite_views(file):
    net = model(file, "mse")
    x1, x2 = batch(net).views
    p1, p2 = (normalize(student(net, x, 0.5, net.aux_head), dim=1) for x in (x1, x2))
    t1, t2 = (project(net, x) for x in (x1, x2))
    (term,), _ = net(batch(net), [0.5])
    torch.testing.assert_close(term.value, -((p1 * t2).sum(1).mean() + (p2 * t1).sum(1).mean()) / 2)


def test_the_teacher_is_frozen_and_stays_in_eval_mode(file):
    net = model(file).train()
    sum(t.value for t in net(batch(net), [1.0]).terms).backward()
    teacher = net.teacher.network
    assert not any(module.training for module in teacher.modules()) and net.training
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)
    assert net.teacher.name == "us3l-resnet18"


def test_a_missing_teacher_or_one_without_its_projector_is_refused(tmp_path):
    with pytest.raises(UserError, match="objective.teacher is missing"):
        SeedSettings().check()
    path = universal(widths=(1.0,), base_channels=8).save(tmp_path / "universal.safetensors")
    with pytest.raises(UserError, match="has no projector.*training.keep_projector=True"):
        SeedSettings(teacher=str(path)).build(create_backbone("resnet18", base_channels=8), 1, 1.0, ImageFacts())
    with pytest.raises(UserError, match="temperature is 0"):
        read(SeedSettings, {"teacher": "t", "teacher_temperature": 0.0})
