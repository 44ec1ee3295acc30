"""What every test can use; the plugins explain themselves."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest
import torch
from hypothesis import HealthCheck
from PIL import Image

# The same examples in every run, and no deadline: how long one takes depends on what else the machine does. Fixtures
# that an example changes are put back by its test.
hypothesis.settings.register_profile(
    "repeatable", deadline=None, derandomize=True, max_examples=int(os.environ.get("US3L_EXAMPLES", 100)),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
hypothesis.settings.load_profile("repeatable")

# A shell that starts the tests in the background has them ignore this, and all that they start as well.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester", "tests.requirements"]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture
def image_folder(tmp_path):
    """A tiny image folder whose two classes a linear head can tell apart, but not by chance.

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
