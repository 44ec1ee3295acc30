"""Small digit scenes and a tiny universal network: a detection test takes seconds."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from tests.pretrain.helpers import universal
from tests.requirements import demand
from tests.transfer.detection.recipes import DIGITS
from transfer.detection.data.scenes import SceneSettings, make_scenes
from transfer.detection.settings import DetectionSettings
from transfer.source import Source


class Evil:
    """Makes a folder where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def run_of(parent: Path) -> Path:
    """The folder of the one training (or the one evaluation) in a width's folder."""
    [found] = parent.glob("seed_*")
    return found


def truncated(path: Path) -> None:
    """Leave half of a file, as a kill while it is written, or a disk, may."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def otherwise(scenes: Path, folder: Path) -> Path:
    """A copy of the scenes that says the same validation in other words: categories in another order and without those
    that have no object, annotations that are all numbered 0, and no word of crowds."""
    shutil.copytree(scenes, folder / scenes.name)
    path = folder / scenes.name / "annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    used = {annotation["category_id"] for annotation in content["annotations"]}
    content["categories"] = [category for category in content["categories"][::-1] if category["id"] in used]
    for annotation in content["annotations"]:
        annotation["id"] = 0
        del annotation["iscrowd"]
    path.write_text(json.dumps(content))
    assert len(used) < 10
    return folder / scenes.name


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
