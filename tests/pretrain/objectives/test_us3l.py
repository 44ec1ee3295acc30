"""One step of Algorithm 1, written out by hand in float64 beside the module's."""

import itertools

import pytest
import torch

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.objectives.losses import infonce, mse
from pretrain.objectives.step import Batch, Term
from pretrain.objectives.us3l import US3L, US3LSettings
from pretrain.slimmable.norms.statistics import BatchStatistics

WIDTHS = [1.0, 0.25, 0.6]


def model(chunks: int = 1, **settings) -> US3L:
    torch.manual_seed(0)
    net = US3L(
        create_backbone("resnet18", base_channels=16), US3LSettings(hidden=16, outputs=8, **settings), chunks
    ).double()
    if net.momentum_encoder is not None:  # a momentum encoder that differs from the network, as in training
        with torch.no_grad():
            for parameter in net.momentum_encoder.parameters():
                parameter.mul_(1.1)
    return net


def views(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x1, x2 = torch.randn(2, count, 3, 32, 32, generator=generator, dtype=torch.float64)
    return x1, x2


def losses(net: US3L, x: tuple[torch.Tensor, torch.Tensor], widths: list[float]) -> list[Term]:
    return net(Batch(x, torch.zeros(len(x[0]))), widths).terms


def one(module, *args):
    return module(*args, BatchStatistics())


def features(net: US3L, x: torch.Tensor, width: float) -> torch.Tensor:
    return one(net.projector, one(net.backbone, x, width))


def test_us3l_is_infonce_of_the_largest_plus_mse_of_g_for_the_others():
    """Each view its own forward, both against the momentum encoder's projections of the opposite view."""
    net, (x1, x2) = model(), views()
    with torch.no_grad():
        targets = tuple(net.momentum_encoder(x, 1.0, BatchStatistics()) for x in (x1, x2))
    expected = [infonce((features(net, x1, 1.0), features(net, x2, 1.0)), targets, 0.5)]
    for width in WIDTHS[1:]:
        student = tuple(one(net.aux_head, features(net, x, width)) for x in (x1, x2))
        expected.append(mse(student, targets))
    terms = losses(net, (x1, x2), WIDTHS)
    assert [(t.name, t.width) for t in terms] == [("base", 1.0), ("distill", 0.25), ("distill", 0.6)]
    torch.testing.assert_close(torch.stack([t.value for t in terms]), torch.stack(expected))


def test_without_a_momentum_encoder_sub_networks_distil_from_this_steps_base_network():
    net, (x1, x2) = model(momentum_base=False, momentum_sub=False, aux_head=False, distill="infonce"), views()
    z = tuple(features(net, x, 1.0) for x in (x1, x2))
    sub = tuple(features(net, x, 0.25) for x in (x1, x2))
    expected = [infonce(z, z, 0.5), infonce(sub, tuple(t.detach() for t in z), 0.5)]
    terms = losses(net, (x1, x2), [1.0, 0.25])
    torch.testing.assert_close(torch.stack([t.value for t in terms]), torch.stack(expected))


def test_base_mse_without_momentum_is_simsiam_and_h_is_shared_with_the_students():
    net, (x1, x2) = model(base="mse", aux_head=False, momentum_base=False, momentum_sub=False), views()
    assert net.projector.final_norm is not None
    z = tuple(features(net, x, 1.0) for x in (x1, x2))
    own = tuple(t.detach() for t in z)
    sub = tuple(one(net.predictor, features(net, x, 0.25)) for x in (x1, x2))
    expected = [mse(tuple(one(net.predictor, t) for t in z), own), mse(sub, own)]
    terms = losses(net, (x1, x2), [1.0, 0.25])
    torch.testing.assert_close(torch.stack([t.value for t in terms]), torch.stack(expected))


def test_distill_none_gives_each_width_its_own_targets():
    net = model(distill="none", aux_head=False, momentum_base=False, momentum_sub=False)
    x1, x2 = views()
    sub = tuple(features(net, x, 0.25) for x in (x1, x2))
    torch.testing.assert_close(losses(net, (x1, x2), [1.0, 0.25])[1].value, infonce(sub, sub, 0.5))


def test_student_z_leaves_h_to_the_base_network():
    net, (x1, x2) = model(base="mse", aux_head=False, student="z"), views()
    with torch.no_grad():
        targets = tuple(net.momentum_encoder(x, 1.0, BatchStatistics()) for x in (x1, x2))
    expected = mse(tuple(features(net, x, 0.25) for x in (x1, x2)), targets)
    torch.testing.assert_close(losses(net, (x1, x2), [1.0, 0.25])[1].value, expected)


def test_chunks_are_the_mean_over_separate_processes_batches():
    x1, x2 = views(8)
    chunked = [t.value for t in losses(model(chunks=2), (x1, x2), WIDTHS)]
    parts = [[t.value.item() for t in losses(model(), (x1[i : i + 4], x2[i : i + 4]), WIDTHS)] for i in (0, 4)]
    torch.testing.assert_close(torch.stack(chunked), torch.tensor(parts, dtype=torch.float64).mean(0))


CHOICES = [
    US3LSettings(base=b, distill=d, aux_head=g, momentum_base=mb, momentum_sub=ms)
    for b, d, g, mb, ms in itertools.product(("mse", "infonce"), ("none", "mse", "infonce"), *[(False, True)] * 3)
    if (ms or not mb) and not (d == "none" and (g or ms))
]


@pytest.mark.parametrize("widths", [[1.0], WIDTHS])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_trainable_parameter_gets_a_gradient_and_the_momentum_encoder_none(choice, widths):
    net = model(**{k: getattr(choice, k) for k in ("base", "distill", "aux_head", "momentum_base", "momentum_sub")})
    sum(t.value for t in losses(net, views(), widths)).backward()
    for name, parameter in net.named_parameters():
        if name.startswith("momentum_encoder"):
            assert parameter.grad is None and not parameter.requires_grad
        else:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_distillation_sends_no_gradient_into_its_targets():
    """The gradient of a distillation term stays in the sub-network's prefix and in g."""
    net = model(momentum_base=False, momentum_sub=False)
    losses(net, views(), [1.0, 0.25])[1].value.backward()
    channels = net.backbone.channels(0.25)
    assert net.backbone.conv1.weight.grad[: channels.stem].abs().sum() > 0
    assert net.backbone.conv1.weight.grad[channels.stem :].abs().sum() == 0


def test_the_momentum_encoder_is_an_exponential_average_of_the_parameters():
    net = model(momentum=0.9, momentum_end=0.9)
    before = [p.clone() for p in net.momentum_encoder.parameters()]
    net.update_momentum(0.0)
    online = [*net.backbone.parameters(), *net.projector.parameters()]
    for old, now, source in zip(before, net.momentum_encoder.parameters(), online, strict=True):
        torch.testing.assert_close(now, 0.9 * old + 0.1 * source)


def test_the_momentum_encoder_runs_at_full_width_whatever_the_widths():
    """Without the sandwich rule the largest drawn width takes the base loss; its targets stay those of w_max."""
    net, (x1, x2) = model(), views()
    with torch.no_grad():
        targets = tuple(net.momentum_encoder(x, 1.0, BatchStatistics()) for x in (x1, x2))
    z = tuple(features(net, x, 0.8) for x in (x1, x2))
    torch.testing.assert_close(losses(net, (x1, x2), [0.8, 0.4])[0].value, infonce(z, targets, 0.5))


def test_the_momentum_encoder_of_a_narrower_range_runs_at_its_largest_width():
    net, (x1, x2) = model(), views()
    net.width_max = 0.5
    with torch.no_grad():
        targets = tuple(net.momentum_encoder(x, 0.5, BatchStatistics()) for x in (x1, x2))
    z = tuple(features(net, x, 0.5) for x in (x1, x2))
    torch.testing.assert_close(losses(net, (x1, x2), [0.5])[0].value, infonce(z, targets, 0.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distill": "none"}, "own targets"),
        ({"momentum_sub": False}, "momentum_base without momentum_sub"),
        ({"temperature": 0.0}, "temperature is 0"),
    ],
)
def test_contradictory_choices_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        model(**settings)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_step_taken_apart_gives_the_losses_and_gradients_of_the_whole(choice):
    """Width by width, each call with a gradient for every parameter."""
    options = {k: getattr(choice, k) for k in ("base", "distill", "aux_head", "momentum_base", "momentum_sub")}
    whole, apart = model(**options), model(**options)
    batch = Batch(views(), torch.zeros(4))
    expected = whole(batch, WIDTHS).terms
    sum(t.value for t in expected).backward()
    got, targets = [], None
    for width in WIDTHS:
        terms, targets = apart(batch, [width], targets)
        terms[0].value.backward()
        assert all(p.grad is not None for p in apart.parameters() if p.requires_grad)
        got += terms
    assert [t[:2] for t in got] == [t[:2] for t in expected]
    torch.testing.assert_close([t.value for t in got], [t.value for t in expected])
    for a, b in zip(apart.parameters(), whole.parameters(), strict=True):
        if a.requires_grad:
            torch.testing.assert_close(a.grad, b.grad)
