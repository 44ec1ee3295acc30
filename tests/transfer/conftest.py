"""A small universal network and a result, for every test of a transfer, and images of two classes."""

import pytest
import torch
from PIL import Image

from pretrain import UniversalNetwork, create_backbone
from tests.pretrain.helpers import MEAN, STD
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


@pytest.fixture
def image_folder(tmp_path):
    """Two classes that a linear head can tell apart, but not by chance:

    tmp_path/photos/{train,val}/{dark,light}/*.png|JPEG: 24 and 8 noisy images of 20 x 16 px a class.
    """
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 24), ("val", 8)):
        for name, colour in (("dark", (30, 60, 90)), ("light", (220, 190, 160))):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = (torch.randn(16, 20, 3, generator=generator) * 12 + torch.tensor(colour)).clamp(0, 255).byte()
                Image.fromarray(pixels.numpy()).save(folder / f"{i}.{'png' if i % 2 else 'JPEG'}")
    return tmp_path / "photos"
