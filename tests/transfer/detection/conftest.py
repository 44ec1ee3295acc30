"""Small digit scenes and a tiny universal network: a detection test takes seconds."""

from pathlib import Path

import pytest
import torch

from tests.pretrain.helpers import universal
from tests.requirements import demand
from transfer.detection.data.scenes import SceneSettings, make_scenes
from transfer.detection.detectron2.recipe import DIGITS
from transfer.detection.settings import DetectionSettings
from transfer.source import Source


def run_of(parent: Path) -> Path:
    """The folder of the one training (or the one evaluation) in a width's folder."""
    [found] = parent.glob("seed_*")
    return found


SMALL = SceneSettings(train=6, val=3, size=64, seed=1)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A folder of 6 training and 3 validation scenes of 64 pixels."""
    demand("detection")
    return make_scenes(tmp_path_factory.mktemp("data") / "scenes", SMALL)


@pytest.fixture(scope="session")
def source():
    """A calibrated ResNet-18 of half the channels."""
    torch.manual_seed(0)
    net = universal(base_channels=32)
    return Source(net, "us3l", net.hash)


@pytest.fixture
def settings(scenes):
    """Two iterations of two images at 64 pixels."""
    return DetectionSettings(recipe=DIGITS, data=scenes, iterations=2, image_size=64, batch=2, device="cpu")
