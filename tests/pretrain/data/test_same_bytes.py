"""The same photographs end with the same universal checkpoint, however they lie and whoever reads them."""

import hashlib
import time
from multiprocessing import get_context

import pytest

from pretrain.train import pretrain
from tests.pretrain.data.images.layouts import LAYOUTS, photographs
from tests.pretrain.helpers import tiny_config
from tests.requirements import requires

PARQUET = pytest.param("parquet", marks=requires("images"))
SETTINGS = {
    "data": {"name": "folder", "mean": (0.5,) * 3, "std": (0.25,) * 3, "image_size": 32, "images_per_class": None},
    "training": {"iterations": 8},
}


def config(root, workers: int = 0):
    return tiny_config(data={**SETTINGS["data"], "root": str(root), "workers": workers}, training=SETTINGS["training"])


def digest(work_dir) -> str:
    return hashlib.sha256((work_dir / "universal.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """A folder of images too large to be kept in memory, and the bytes that a training on it ends with."""
    home = tmp_path_factory.mktemp("same")
    folder = photographs(home / "folder", size=(120, 100))
    pretrain(config(folder), home / "run", False, "cpu")
    return folder, digest(home / "run")


@pytest.mark.parametrize("layout", ["packed", "tars", "listed", PARQUET])
@pytest.mark.parametrize("workers", [0, 4])
def test_every_layout_ends_with_the_same_bytes(layout, workers, expected, tmp_path):
    folder, bytes_of_folder = expected
    root = LAYOUTS[layout](folder, tmp_path / "other")
    pretrain(config(root, workers), tmp_path / "run", False, "cpu")
    assert digest(tmp_path / "run") == bytes_of_folder


@pytest.mark.parametrize("layout", ["folder", "tars", PARQUET])
def test_killed_and_resumed_too(layout, expected, tmp_path):
    folder, bytes_of_folder = expected
    root = folder if layout == "folder" else LAYOUTS[layout](folder, tmp_path / "other")
    training = get_context("fork").Process(target=pretrain, args=(config(root, 4), tmp_path / "run", False, "cpu"))
    training.start()
    while training.is_alive() and not list(tmp_path.glob("run/checkpoints/*.pt")):
        time.sleep(0.01)
    training.kill()
    training.join()
    pretrain(config(root), tmp_path / "run", True, "cpu")
    assert digest(tmp_path / "run") == bytes_of_folder
