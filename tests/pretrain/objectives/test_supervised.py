"""Supervised, S-Net and in-place distillation by hand in float64."""

import pytest
import torch

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.objectives.step import Batch
from pretrain.objectives.supervised import Supervised, SupervisedSettings
from pretrain.slimmable.norms.statistics import BatchStatistics

WIDTHS = [1.0, 0.75, 0.5, 0.25]


def model(distill: bool = False, private: tuple[float, ...] = ()) -> Supervised:
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", base_channels=32, private_norms=private)
    return Supervised(backbone, SupervisedSettings(distill=distill), classes=5).double()


def batch() -> Batch:
    x = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch((x,), torch.tensor([0, 1, 2, 3, 4, 0]))


def log_probabilities(net: Supervised, width: float) -> torch.Tensor:
    (x,) = batch().views
    features = net.backbone(x, width, BatchStatistics())
    logits = features @ net.classifier.weight[:, : features.shape[1]].T + net.classifier.bias
    return logits - logits.exp().sum(1, keepdim=True).log()


def test_every_width_learns_the_labels():
    net, labels = model(), batch().labels
    expected = [-log_probabilities(net, w)[torch.arange(6), labels].mean() for w in WIDTHS]
    terms = net(batch(), WIDTHS).terms
    assert [t.name for t in terms] == ["base", "distill", "distill", "distill"]
    torch.testing.assert_close([t.value for t in terms], expected)


def test_with_distillation_narrower_widths_learn_the_largest_ones_prediction():
    net, labels = model(distill=True), batch().labels
    goal = log_probabilities(net, 1.0).exp().detach()
    expected = [-log_probabilities(net, 1.0)[torch.arange(6), labels].mean()]
    expected += [-(goal * log_probabilities(net, w)).sum(1).mean() for w in WIDTHS[1:]]
    terms = net(batch(), WIDTHS).terms
    torch.testing.assert_close([t.value for t in terms], expected)
    terms[1].value.backward()
    assert net.backbone.conv1.weight.grad[24:].abs().sum() == 0, "no gradient into the largest network"


def test_soft_targets_keep_their_float64():
    """Rounded to fp32 they would move the loss by some 1e-8."""
    net = model(distill=True)
    expected = -(log_probabilities(net, 1.0).exp() * log_probabilities(net, 0.5)).sum(1).mean()
    torch.testing.assert_close(net(batch(), [1.0, 0.5]).terms[1].value, expected, rtol=1e-12, atol=0)


def test_one_class_is_refused():
    with pytest.raises(UserError, match="needs at least 2 classes, the data set has 1"):
        Supervised(create_backbone("resnet18", base_channels=8), SupervisedSettings(), classes=1)
