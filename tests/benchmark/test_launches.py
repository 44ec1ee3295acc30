"""tools/benchmark.py launches and gpu: counts by stage without a GPU, and the script for a machine that has some."""

import argparse
import json
from pathlib import Path

import pytest

from benchmark import gpu, launches
from pretrain.common.errors import UserError
from pretrain.configfile import Address
from tests.conftest import ROOT
from tests.nullcuda.program import on_null_device
from tests.requirements import requires

CONFIG = ROOT / "configs/pretrain/us3l_resnet18_cifar10.py"
SMALL = ["training.batch_size=8", "training.chunks=1", "backbone.base_channels=8", "training.precision=bf16"]


@requires("nullcuda")
def test_a_row_for_each_stage_of_a_config():
    found = launches.measure(argparse.Namespace(config=Address(CONFIG), overrides=SMALL))
    assert [row["stage"] for row in found["rows"]] == [0, 1, 2, 3]
    base, *later = found["rows"]
    assert base["widths"] == [1.0] and all(len(row["widths"]) == 3 for row in later)
    assert all(row["syncs"] == 0 for row in found["rows"])
    assert all(base["device_operations"] < row["device_operations"] < 4000 for row in later)
    assert all(base["peak_bytes"] < row["peak_bytes"] for row in later)


def measured(folder: str) -> dict:
    """``gpu.measure`` on the null device: its times say nothing."""
    import tests.nullcuda.counting  # noqa: F401

    output = f"{folder}/found.json"
    gpu.arrangements = lambda batch: {"default": [*SMALL, "data.image_size=32"]}
    args = argparse.Namespace(device="cuda", batch=8, repeats=1, output=Path(output))
    return gpu.measure(args)


@requires("nullcuda")
def test_the_script_for_gpus_runs_to_its_end(tmp_path):
    found = on_null_device(measured, str(tmp_path))
    assert [row["stage"] for row in found["rows"]] == [0, 1, 2, 3]
    assert all(row["syncs"] == 0 and row["step_ms"] >= row["host_ms"] > 0 for row in found["rows"])
    assert json.loads((tmp_path / "found.json").read_text())["rows"] == found["rows"]


def test_without_a_gpu_it_is_refused():
    with pytest.raises(UserError, match="torch sees none"):
        gpu.measure(argparse.Namespace(device="cpu"))
