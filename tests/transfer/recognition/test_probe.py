"""The fast linear probe: exact SGD, as good as a logistic regression, chosen without a look at test images."""

import math

import pytest
import torch

from pretrain.data.images.digits import digits
from transfer.recognition.metrics import accuracies
from transfer.recognition.probe import (
    ProbeSettings,
    Scale,
    _batches,
    heads_top1,
    scale_of,
    split,
    train_heads,
    train_probe,
)


@pytest.fixture(scope="module")
def digit_features():
    """Random ReLU features of the digits at 8 px: (train, labels), (test, labels)."""
    project = torch.randn(64, 96, generator=torch.Generator().manual_seed(1))
    found = []
    for part in ("train", "test"):
        images, labels = digits(part, 8)
        found.append(((images[:, 0].flatten(1).float() / 255 @ project).relu(), labels))
    return found


def test_heads_trained_together_equal_torch_sgd_one_by_one():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 7, dtype=torch.float64, generator=generator)
    labels = torch.randint(4, (50,), generator=generator)
    rates, decays = torch.tensor([0.05, 0.3], dtype=torch.float64), torch.tensor([0.01, 0.2], dtype=torch.float64)
    settings = ProbeSettings(batch=16, epochs=4, min_iterations=1)
    chosen, scale = torch.arange(50), Scale(torch.zeros(7).double(), torch.ones(7).double())
    weight, bias = train_heads([features], labels, chosen, 4, rates, decays, settings, 5, scale)
    total = settings.iterations(50)
    for h in range(2):
        head = torch.nn.Linear(7, 4).double()
        torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
        groups = [{"params": [head.weight], "weight_decay": float(decays[h])}, {"params": [head.bias]}]
        optimizer = torch.optim.SGD(groups, lr=float(rates[h]), momentum=0.9)
        for i, (_, index) in enumerate(_batches(50, 16, total, 5)):
            for group in optimizer.param_groups:
                group["lr"] = float(rates[h]) * (1 + math.cos(math.pi * i / total)) / 2
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(features[index]), labels[index]).backward()
            optimizer.step()
        torch.testing.assert_close(weight[:, h].T, head.weight.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(bias[h], head.bias.detach(), rtol=1e-10, atol=1e-12)


def test_accuracy_is_that_of_a_logistic_regression(digit_features):
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.preprocessing import StandardScaler

    (train, labels), (test, test_labels) = digit_features
    probe = train_probe([train], train, labels, 10, ProbeSettings())
    ours = accuracies(probe(test), test_labels)["top1"]
    scaler = StandardScaler().fit(train)
    reference = LogisticRegressionCV(
        Cs=[0.01, 0.1, 1.0], cv=3, scoring="accuracy", max_iter=500, l1_ratios=(0.0,), use_legacy_attributes=False
    )
    reference.fit(scaler.transform(train), labels)
    theirs = 100 * reference.score(scaler.transform(test), test_labels)
    assert theirs > 90 and abs(ours - theirs) < 1.5


def test_the_scale_of_the_features_does_not_matter(digit_features):
    (train, labels), (test, test_labels) = digit_features
    settings = ProbeSettings(learning_rates=(0.03, 0.1), weight_decays=(0.0,), epochs=3, min_iterations=1)
    one, other = (
        accuracies(train_probe([train * s], train * s, labels, 10, settings)(test * s), test_labels)["top1"]
        for s in (1.0, 1e4)
    )
    assert abs(one - other) < 0.6  # two images: rounding only


def test_a_constant_feature_does_no_harm(digit_features):
    (train, labels), (test, _) = digit_features
    train, test = (torch.cat([x, torch.full_like(x[:, :1], 3.0)], 1) for x in (train, test))
    settings = ProbeSettings(learning_rates=(0.1,), weight_decays=(0.0,), epochs=1, min_iterations=1)
    assert train_probe([train], train, labels, 10, settings)(test).isfinite().all()


def test_the_grid_avoids_rates_that_diverge_or_stand_still(digit_features):
    (train, labels), _ = digit_features
    settings = ProbeSettings(learning_rates=(1e-7, 0.1, 1e6), weight_decays=(0.01,), epochs=2, min_iterations=1)
    assert train_probe([train], train, labels, 10, settings).learning_rate == pytest.approx(0.1)


def test_the_same_seed_gives_the_same_head(digit_features):
    (train, labels), _ = digit_features
    settings = ProbeSettings(learning_rates=(0.1,), weight_decays=(0.0,), epochs=1, min_iterations=1)
    one, again, other = (train_probe([train], train, labels, 10, settings, seed) for seed in (0, 0, 1))
    assert torch.equal(one.weight, again.weight) and not torch.equal(one.weight, other.weight)


def test_features_are_centred_and_keep_their_proportions():
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([1.0, 2.0, 4.0])
    views = [(torch.randn(9000, 3, generator=generator) + i) * spread for i in range(3)]
    scale = scale_of([view.half() for view in views], torch.device("cpu"))
    found = torch.cat([scale(view.half()) for view in views])
    deviation = found.std(0, correction=0)
    assert found.mean(0).abs().max() < 1e-4
    torch.testing.assert_close(deviation.square().mean(), torch.tensor(1.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(deviation / deviation[0], spread, rtol=0.02, atol=0)


def test_every_epoch_sees_another_view():
    """Views that hold nothing but their own number as a feature, times the sign of the class."""
    labels = torch.arange(8) % 2
    sign = 2.0 * labels - 1
    views = [torch.stack([sign * (v == i) for i in range(3)], 1) for v in range(3)]
    settings, scale = ProbeSettings(batch=4, epochs=2, min_iterations=1), Scale(torch.zeros(3), torch.ones(3))
    rates = torch.tensor([0.1])
    weight, _ = train_heads(views, labels, torch.arange(8), 2, rates, 0 * rates, settings, 0, scale)
    assert weight[0].abs().min() > 0 and weight[1].abs().min() > 0, "two epochs, two views"
    assert weight[2].abs().max() == 0, "the third was not reached"


def test_held_out_images_are_held_out_in_all_views_and_judged_by_the_tested_one():
    """Labels that cannot be learned but by heart: a head that had seen an image in any view would know it."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(200, 400, generator=generator)
    views = [base + 0.01 * torch.randn(200, 400, generator=generator) for _ in range(4)]
    labels = torch.randint(2, (200,), generator=generator)
    settings = ProbeSettings(learning_rates=(0.1,), weight_decays=(0.0,), validation=0.5)
    probe = train_probe(views, base, labels, 2, settings)
    assert (probe(base).argmax(1) == labels).all(), "trained on all images in the end"
    assert 30 < probe.validation_top1 < 70, "held-out images are as good as unseen"
    _, held_out = split(labels, 0.5, 0)
    told = base.clone()
    told[held_out] = 0
    constant = (train_probe(views, told, labels, 2, settings).validation_top1 * len(held_out)) / 100
    assert round(constant) in labels[held_out].bincount().tolist(), "one answer for all where what is tested is blank"


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5])
def test_the_validation_split_is_its_share_of_every_class(share):
    labels = torch.arange(400) % 4
    train, validation = split(labels, share, seed=0)
    assert sorted(torch.cat([train, validation]).tolist()) == list(range(len(labels)))
    assert labels[validation].bincount().tolist() == [round(100 * share)] * 4


def test_the_only_image_of_a_class_is_not_held_out():
    labels = torch.tensor([0] * 9 + [1, 2, 3, 4, 5, 6])
    for seed in range(5):
        _, validation = split(labels, 0.2, seed)
        assert set(labels[validation].tolist()) == {0}
    assert len(split(torch.arange(10), 0.2, 0)[1]) == 0


def test_where_nothing_can_be_held_out_nothing_is_chosen_and_it_is_said():
    labels = torch.arange(4)
    with pytest.warns(UserWarning, match="none of 4 training images can be held out, so the learning rate 0.03"):
        probe = train_probe([torch.eye(4)], torch.eye(4), labels, 4, ProbeSettings(min_iterations=5))
    assert (probe.learning_rate, probe.weight_decay) == (0.03, 1e-3) and math.isnan(probe.validation_top1)
    assert (probe(torch.eye(4)).argmax(1) == labels).all()


def test_accuracy_of_many_heads_in_chunks(digit_features):
    (train, labels), _ = digit_features
    weight, bias = torch.randn(96, 3, 10), torch.randn(3, 10)
    expected = [float(((train @ weight[:, h] + bias[h]).argmax(1) == labels).double().mean() * 100) for h in range(3)]
    scale = Scale(torch.zeros(96), torch.ones(96))
    chosen = torch.arange(len(train))
    assert heads_top1(train, labels, chosen, weight, bias, scale, chunk=100).tolist() == pytest.approx(
        expected, abs=0.1
    )
