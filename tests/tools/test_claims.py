"""The claims' runner on tiny images: what it runs, in which order, what it leaves alone, and its table."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.programs import tool

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
                pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.jpg")
    return root


def claims(photos, output, *arguments) -> subprocess.CompletedProcess:
    return tool("claims", "--data", photos, "--output", output, *arguments, *TINY)


def test_a_part_is_run_its_table_written_and_nothing_run_twice(photos, tmp_path):
    done = claims(photos, tmp_path, "--only", "c", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert {p.parent.name for p in tmp_path.glob("*/record.json")} == {"us3l_seed0", "simclr_025_seed0"}
    widths = {p.parents[1].name for p in tmp_path.glob("us3l_seed0/transfer/cifar10/linear*/**/result.json")}
    assert widths == {"width_1", "width_0.75", "width_0.5", "width_0.25"}
    page = (tmp_path / "claims.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| simclr_025 "))
    assert row.count("–") == 4 and "| simclr_025 | 1 " in row  # three widths and the rank at width 1 are not there
    verdicts = [line for line in page.splitlines() if line.startswith("| (c) ")]  # linear and by nearest neighbours
    assert len(verdicts) == 2 and all("one seed" in verdict for verdict in verdicts)
    lines = [json.loads(line) for line in (tmp_path / "claims.jsonl").read_text().splitlines()]
    assert [(r["system"], r["iterations"], *r["linear"]) for r in lines] == [
        ("simclr_025", 2, "0.25"), ("us3l", 2, "1", "0.75", "0.5", "0.25"),
    ]  # fmt: skip
    assert "US3L" in (tmp_path / "claims.svg").read_text()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert claims(photos, tmp_path, "--only", "c", "--seeds", "1").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before
    again = tool("claims", "--show", tmp_path / "claims.jsonl", "--output", tmp_path / "x")
    assert again.returncode == 0 and (tmp_path / "x/claims.md").read_text() == page, again.stderr


def test_a_run_that_collapses_is_told_to_stop_and_recorded(photos, tmp_path):
    stop = ["monitor.on_collapse=stop", "monitor.min_rank=1000", "monitor.patience=1"]
    done = claims(photos, tmp_path, "--only", "c", "--seeds", "1", *stop)
    assert done.returncode == 0, done.stderr
    for outcome in tmp_path.glob("*/record.json"):
        assert "has collapsed at iteration 2" in json.loads(outcome.read_text())["ended"]


def test_a_folder_of_other_settings_or_images_is_refused_before_anything_is_trained(photos, tmp_path):
    output = tmp_path / "out"
    assert claims(photos, output, "--only", "c", "--seeds", "1").returncode == 0
    (output / "us3l_seed0" / "record.json").unlink()  # what comes first is missing
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    other = claims(photos, output, "--only", "c", "--seeds", "1", "optimizer.lr=0.01")
    assert (other.returncode, other.stderr) == (
        2, f"error: {output}/claims.jsonl has a run of simclr_025, seed 0, by other settings; expected those, or "
        "another --output\n",
    )  # fmt: skip
    records = (output / "claims.jsonl").read_bytes()
    weights = claims(photos, output, "--only", "c", "--seeds", "1", "backbone.weights=other.pth")
    assert weights.returncode == 2 and "by other settings" in weights.stderr, "which the config's hash leaves out"
    (output / "claims.jsonl").unlink()
    other = claims(photos, output, "--only", "c", "--seeds", "1", "optimizer.lr=0.01")
    assert other.returncode == 2 and f"{output}/simclr_025_seed0 holds a run of other settings" in other.stderr
    (output / "claims.jsonl").write_bytes(records)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    shutil.copytree(photos, tmp_path / "copy")
    moved = claims(tmp_path / "copy", output, "--only", "c", "--seeds", "1")
    assert moved.returncode == 2 and moved.stderr.count("\n") == 1
    assert f"not of {tmp_path}/copy: {output} has runs on other images" in moved.stderr
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before, "nothing is lost"


def test_mistakes_are_one_line(photos, tmp_path):
    unknown = claims(photos, tmp_path, "--only", "z")
    assert (unknown.returncode, unknown.stderr) == (2, "error: unknown claim 'z'; valid: a, b, c, d, e, f, g\n")
    missing = claims(tmp_path, tmp_path, "--only", "c")
    assert missing.returncode == 2 and "expected" in missing.stderr and missing.stderr.count("\n") == 1
