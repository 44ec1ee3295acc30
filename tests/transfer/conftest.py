"""A small universal network and a result, for every test of a transfer."""

import pytest
import torch

from pretrain import UniversalNetwork, create_backbone
from tests.pretrain.helpers import MEAN, STD, universal
from tests.transfer.helpers import a_result
from transfer.source import Source


@pytest.fixture
def network():
    """ResNet-18 of a quarter of the channels for images of 16 px, calibrated on noise at widths 1 and 0.5."""
    backbone = {"name": "resnet18", "stem": "cifar", "base_channels": 16}
    metadata = {
        "method": "us3l", "backbone": backbone, "width_range": [0.25, 1.0], "seed": 3, "epochs": 2.0, "iterations": 10,
        "data": {"name": "noise", "images": 64, "image_size": 16}, "mean": MEAN, "std": STD,
        "channel_order": "RGB", "calibration": {"widths": [], "batch_size": 16, "batches": 2, "seed": 3},
    }  # fmt: skip
    torch.manual_seed(0)
    net = UniversalNetwork(create_backbone(**backbone), metadata)
    net.calibrate([torch.randn(16, 3, 16, 16)], [1.0, 0.5])
    return net


@pytest.fixture
def source(network):
    """The network as if read from a checkpoint."""
    return Source(network, "us3l", network.hash)


@pytest.fixture
def make_result():
    """A valid Result with some fields changed."""
    return a_result


@pytest.fixture(scope="module")
def networks():
    """A calibrated random network of each backbone."""
    torch.manual_seed(0)
    small = {name: universal(name, widths=(1.0, 0.9, 0.25), base_channels=16) for name in ("resnet34", "resnet101")}
    return small | {name: universal(name, widths=(1.0, 0.9, 0.25)) for name in ("resnet18", "resnet50")}


@pytest.fixture(scope="module")
def small():
    """ResNet-18 of an eighth of the channels, with a CIFAR stem."""
    torch.manual_seed(0)
    return universal(stem="cifar", base_channels=8)
