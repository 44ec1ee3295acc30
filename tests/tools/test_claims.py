"""The claims' runner on tiny images: what it runs, in which order, what it leaves alone, and its table."""

import json
import subprocess
import sys

import pytest
import torch
from torchvision.io import write_jpeg

TINY = [
    "backbone.base_channels=8", "objective.hidden=16", "objective.outputs=8", "training.iterations=2",
    "training.batch_size=8", "calibration.batch_size=8", "calibration.batches=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of random JPEGs of 32 px."""
    root = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 30), ("test", 4)):
        for name in ("cat", "dog"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                write_jpeg(torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8), str(folder / f"{i}.jpg"))
    return root


def claims(repository, photos, output, *arguments) -> subprocess.CompletedProcess:
    tool = [sys.executable, repository / "tools/claims.py", "--data", photos, "--output", output]
    return subprocess.run([*tool, *arguments, *TINY], capture_output=True, text=True)


def test_a_part_is_run_its_table_written_and_nothing_run_twice(repository, photos, tmp_path):
    done = claims(repository, photos, tmp_path, "--only", "c", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert {p.parent.name for p in tmp_path.glob("*/outcome.json")} == {"us3l_seed0", "simclr_025_seed0"}
    widths = {p.parent.name for p in tmp_path.glob("us3l_seed0/transfer/cifar10/linear*/**/result.json")}
    assert widths == {"width_1", "width_0.75", "width_0.5", "width_0.25"}
    table = (tmp_path / "claims.md").read_text()
    (row,) = {line for line in table.splitlines() if line.startswith("| simclr_025 ")}
    assert row.count("–") == 4 and "| simclr_025 | 1 " in row  # three widths and the rank at width 1 are not there
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert claims(repository, photos, tmp_path, "--only", "c", "--seeds", "1").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before


def test_a_run_that_collapses_is_told_to_stop_and_recorded(repository, photos, tmp_path):
    stop = ["monitor.on_collapse=stop", "monitor.min_rank=1000", "monitor.patience=1"]
    done = claims(repository, photos, tmp_path, "--only", "c", "--seeds", "1", *stop)
    assert done.returncode == 0, done.stderr
    for outcome in tmp_path.glob("*/outcome.json"):
        assert "has collapsed at iteration 2" in json.loads(outcome.read_text())["ended"]


def test_mistakes_are_one_line(repository, photos, tmp_path):
    unknown = claims(repository, photos, tmp_path, "--only", "z")
    assert (unknown.returncode, unknown.stderr) == (2, "error: unknown claim 'z'; expected some of a b c f g d e\n")
    missing = claims(repository, tmp_path, tmp_path, "--only", "c")
    assert missing.returncode == 2 and "expected" in missing.stderr and missing.stderr.count("\n") == 1
