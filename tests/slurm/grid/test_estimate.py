"""Estimates of cost: orders of magnitude that can be checked by hand."""

import pytest

from slurm.grid.estimate import detection, full_cost, pretraining, recognition, relative_width
from slurm.plan import bytes_text, gpu_hours, hours_text
from slurm.presets import Preset
from tests.pretrain.helpers import tiny_config
from tests.slurm.helpers import entry
from transfer.command import parse

CIFAR = tiny_config(
    backbone={"name": "resnet18", "stem": "cifar", "base_channels": 64},
    data={"name": "cifar10", "images_per_class": None},
    training={"iterations": None, "epochs": 400, "batch_size": 512},
)


def test_the_backbones_cost_is_that_of_the_method_page():
    assert full_cost(CIFAR.backbone, 32) == pytest.approx((0.5554e9, 11.169e6), rel=1e-3)


def test_a_step_of_us3l_costs_half_as_much_again_as_a_momentum_baseline():
    """docs/method.md, section 2: 1.51 times, with the momentum network's forward passes, for ResNet-18."""
    single = tiny_config(width_range=(1.0, 1.0), calibration={"widths": (1.0,)})
    ratio = (3 * relative_width(CIFAR) + 1) / (3 * relative_width(single) + 1)
    assert ratio == pytest.approx(1.51, abs=0.02)


def test_a_pretraining_is_views_times_passes():
    """2 operations x 2 views x (3 passes for each width + the momentum network's) x images."""
    flops, size = pretraining(CIFAR)
    images = 400 * (50_000 // 512) * 512
    assert flops == pytest.approx(2 * 0.5554e9 * 2 * images * (3 * relative_width(CIFAR) + 1), rel=1e-3)
    assert size == pytest.approx(11.17e6 * 4 * 7, rel=1e-3)


def test_narrow_and_short_evaluations_cost_less():
    coco, short = parse("coco", []), parse("coco", ["--iterations", "900"])
    assert detection(CIFAR, 0.25, coco)[0] < detection(CIFAR, 1.0, coco)[0]
    assert detection(CIFAR, 1.0, short)[0] == detection(CIFAR, 1.0, coco)[0] / 100
    fast, paper = parse("cifar10", []), parse("cifar10", ["--protocol", "paper", "--epochs", "10"])
    assert recognition(CIFAR, 0.5, fast)[0] == recognition(CIFAR, 1.0, fast)[0] / 4
    assert recognition(CIFAR, 1.0, paper)[0] == 2 * recognition(CIFAR, 1.0, fast)[0]


def test_hours_are_of_a_gpu_of_the_preset_or_of_a_core():
    one = entry("a", flops=3.6e16, gpus=8)
    assert gpu_hours(one, Preset(tflops=10)) == 1 and gpu_hours(entry("a", hours=2, gpus=8, nodes=2), Preset()) == 32
    assert hours_text(1234.5) == "1,234" and hours_text(0.126) == "0.13" and bytes_text(3.2e9) == "3.2 GB"


@pytest.mark.parametrize(
    ("seconds", "changes"),
    [
        (18.5, {"kind": "pretrain", "flops": 2.6e10, "steps": 80}),  # ResNet-18 of 8 channels, batches of 16
        (162, {"kind": "pretrain", "flops": 2.75e12, "steps": 40}),  # ResNet-18 on digits, batches of 64
        (34, {"flops": 5.3e11}), (14, {"flops": 1.06e11}),  # its fast evaluation, and kNN alone
        (0.4, {"kind": "tables", "flops": 0}),
    ],
)  # fmt: skip
def test_small_jobs_on_a_core_are_within_a_factor_of_three_of_what_was_measured(seconds, changes):
    assert seconds / 3 < gpu_hours(entry("a", **changes), Preset()) * 3600 < seconds * 3
