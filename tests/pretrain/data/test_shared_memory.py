"""What loader workers take of shared memory is said at the start, and a warning where it is not there."""

import shutil
import warnings
from collections import namedtuple

import pytest
import torch
from torch.utils.data import DataLoader

from pretrain.data import shared_memory
from pretrain.data.shared_memory import PREFETCH, check_shared_memory, needed
from pretrain.train import pretrain
from tests.pretrain.helpers import tiny_config


@pytest.fixture
def free(monkeypatch, tmp_path):
    """Sets how many bytes are free."""
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shared_memory, "PLACE", tmp_path)
    return lambda count: monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(count))


def test_torch_keeps_as_many_batches_ready():
    assert DataLoader([1], num_workers=1).prefetch_factor == PREFETCH


def test_it_is_said_and_enough(free):
    free(2_000_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = check_shared_memory(10_000_000, workers=4, processes=2)
    assert said.startswith("8 loader workers keep up to 180.0 MB in ") and said.endswith(", 2,000.0 MB are free")


def test_too_little_is_a_warning_with_what_fits(free):
    free(64_000_000)
    with pytest.warns(UserWarning, match="a run may end in a bus error; expected data.workers=2, a smaller") as caught:
        check_shared_memory(10_000_000, workers=8, processes=1)
    assert needed(10_000_000, 2, 1) <= 64_000_000 < needed(10_000_000, 3, 1) and "\n" not in str(caught[0].message)
    free(1_000)
    with pytest.warns(UserWarning, match="expected data.workers=0, "):
        check_shared_memory(10_000_000, workers=8, processes=1)


def test_without_workers_there_is_nothing_to_say(free):
    free(0)
    assert check_shared_memory(10_000_000, workers=0, processes=8) == ""


def test_a_run_says_it_at_its_start(tmp_path, capsys):
    """8 images of two views of 3 x 32 x 32 px: 49 kB, of which one worker keeps two ready while one is learnt from."""
    pretrain(tiny_config(data={"workers": 1}, training={"iterations": 1}), tmp_path, False, "cpu")
    assert "1 loader workers keep up to 0.1 MB in " in capsys.readouterr().out
    assert needed(8 * 2 * 3 * 32 * 32, 1, 1) == 3 * 49152 and torch.zeros(8, 2, 3, 32, 32).numel() == 49152
