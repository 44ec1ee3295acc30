"""Collapse is measured against closed forms, warned of with its step, and may end the run; kNN leaves no trace."""

import copy
import json
import math
import warnings

import pytest
import torch

from pretrain.backbones import create_backbone
from pretrain.common.errors import CollapsedError
from pretrain.data.images.datasets import image_dataset
from pretrain.monitor import CollapseWatch, MonitorSettings, NearestNeighbours, effective_rank, singular_values, spread
from pretrain.run.distributed import World
from pretrain.train import pretrain
from tests.pretrain.helpers import tiny_config

CPU = torch.device("cpu")


def test_spread_is_1_for_directions_all_over_the_sphere_and_0_for_one_point():
    assert spread(torch.randn(20000, 64)) == pytest.approx(1, abs=0.01)
    assert spread(torch.ones(8, 5) * torch.arange(1, 9)[:, None]) == pytest.approx(0, abs=1e-12)


def test_spread_by_numpy():
    x = torch.randn(10, 4, dtype=torch.float64)
    unit = x.numpy() / (x.numpy() ** 2).sum(1, keepdims=True) ** 0.5
    assert spread(x) == pytest.approx(unit.std(axis=0).mean() * 2)


def test_rank_is_the_number_of_equal_singular_values():
    """Plus and minus each of k axes: centred, unit rows, k equal singular values."""
    for k in (1, 3, 7):
        axes = torch.eye(10)[:k]
        assert effective_rank(torch.cat([axes, -axes])) == pytest.approx(k)
    assert effective_rank(torch.ones(6, 4)) == 1.0


def test_rank_of_unequal_singular_values_is_exp_of_their_entropy():
    axes = torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0]))
    x = torch.cat([axes[:1].repeat(4, 1), -axes[:1].repeat(4, 1), axes[1:2], -axes[1:2]])
    shares = [math.sqrt(8) / (math.sqrt(8) + math.sqrt(2)), math.sqrt(2) / (math.sqrt(8) + math.sqrt(2))]
    assert effective_rank(x) == pytest.approx(math.exp(-sum(s * math.log(s) for s in shares)))


class Embeds(torch.nn.Module):
    """An objective that embeds into one point below width 1."""

    def embed(self, x, width):
        return x.flatten(1) if width == 1 else torch.ones(len(x), 8)


def watch(**settings) -> CollapseWatch:
    return CollapseWatch(MonitorSettings(**settings), [1.0, 0.25], World(0, 1, CPU))


def test_a_collapsed_width_is_named_with_its_step_once():
    look = watch()
    with pytest.warns(UserWarning, match=r"width 0.25 has collapsed at iteration 7: spread 0.000, effective rank 1.0"):
        look.judge(metrics := look.look(Embeds(), torch.randn(16, 3, 4, 4)), 7)
    assert metrics.keys() == {"1/spread", "1/rank", "0.25/spread", "0.25/rank"} and metrics["1/rank"] > 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look.judge(metrics, 8)


def test_stop_ends_the_run_after_as_many_looks_as_patience():
    look = watch(on_collapse="stop", patience=2)
    metrics = look.look(Embeds(), torch.randn(16, 3, 4, 4))
    with pytest.warns(UserWarning):
        look.judge(metrics, 1)
    with pytest.raises(CollapsedError, match=r"width 0.25 has collapsed at iteration 2: .*, 2 times in a row"):
        look.judge(metrics, 2)


def test_a_run_that_is_told_to_stop_does_so(tmp_path):
    """A bound that no embedding meets stands for a collapse; the log tells of the end."""
    monitor = {"on_collapse": "stop", "patience": 2, "min_rank": 1e3}
    with pytest.warns(UserWarning, match="has collapsed at iteration 2"), pytest.raises(CollapsedError):
        pretrain(tiny_config(monitor=monitor), tmp_path, False, "cpu")
    assert [json.loads(line)["iteration"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [2, 3]


def test_nearest_neighbours_see_the_features_and_change_nothing():
    train, test = (image_dataset("digits", split=split) for split in ("train", "test"))
    backbone = create_backbone("resnet18", base_channels=8)
    before = copy.deepcopy(backbone.state_dict())
    look = NearestNeighbours(train, test, 32, 400, 0, [0.3] * 3, [0.4] * 3, CPU)
    generator_state = torch.get_rng_state()
    found = look.accuracies(backbone, [1.0, 0.5])
    assert found.keys() == {1.0, 0.5} and all(20 < accuracy <= 100 for accuracy in found.values())
    assert backbone.training and torch.equal(torch.get_rng_state(), generator_state)
    assert all(torch.equal(t, before[name]) for name, t in backbone.state_dict().items())
    assert look.accuracies(backbone, [1.0, 0.5]) == found


def test_a_bank_of_one_image_more_than_a_batch_has_statistics():
    """Its last maps have one pixel, of which a batch of a single image has no variance."""
    train, test = (image_dataset("digits", split=split) for split in ("train", "test"))
    backbone = create_backbone("resnet18", base_channels=8)
    look = NearestNeighbours(train, test, 32, 65, 0, [0.3] * 3, [0.4] * 3, CPU, batch_size=32)
    assert [len(part) for part in look._batches(look.bank[0])] == [22, 22, 21]
    assert 0 <= look.accuracies(backbone, [1.0])[1.0] <= 100


def test_watching_does_not_change_the_training(tmp_path):
    """With and without kNN, at other widths: the same universal checkpoint, byte for byte."""
    settings = {"training": {"iterations": 4}}
    plain = pretrain(tiny_config(**settings), tmp_path / "plain", False, "cpu").read_bytes()
    monitor = {"widths": (0.75, 0.5), "knn_interval": 2, "knn_images": 30}
    watched = pretrain(tiny_config(**settings, monitor=monitor), tmp_path / "watched", False, "cpu").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "watched/metrics.jsonl").read_text().splitlines()]
    assert ["0.5/knn" in line for line in lines] == [True, False, True]
    header = slice(8, 8 + int.from_bytes(plain[:8], "little"))  # the config's hash is part of the metadata
    assert plain[header.stop :] == watched[8 + int.from_bytes(watched[:8], "little") :]


@pytest.mark.parametrize("shape", [(64, 16), (16, 64), (32, 32), (1, 8)])
@pytest.mark.parametrize("rank", [1, 5, 64])
def test_singular_values_are_torchs(shape, rank):
    generator = torch.Generator().manual_seed(0)
    rank = min(rank, *shape)
    x = torch.randn(shape[0], rank, generator=generator, dtype=torch.float64)
    x = x @ torch.randn(rank, shape[1], generator=generator, dtype=torch.float64)
    expected = torch.linalg.svdvals(x)
    torch.testing.assert_close(
        singular_values(x).sort(descending=True).values, expected, rtol=0, atol=1e-7 * expected[0]
    )
