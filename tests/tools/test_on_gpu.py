"""The tools' main paths with ``--device cuda``, as far as a device without values lets them go.

Accuracies are stood in for: labels that come back from such a device are none. Pretraining, its resume and its
calibration are in tests/pretrain/test_run_on_gpu.py.
"""

import contextlib
import importlib
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.nullcuda.program import on_null_device
from tests.pretrain.helpers import universal
from tests.requirements import requires

pytestmark = requires("nullcuda")


def said_by(tool: str, *arguments: object) -> str:
    """What a tool prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        importlib.import_module(tool).main(list(map(str, arguments)))
    return said.getvalue()


def commands(folder: str) -> dict:
    """Recognition by nearest neighbours, features of photographs, and a conversion beside a GPU."""
    from transfer.recognition import protocols
    from transfer.recognition.images import placed, shown

    protocols.accuracies = lambda scores, labels: {"top1": 50.0, "top5": None, "class_mean": 50.0}
    root = Path(folder)
    common = ("--checkpoint", root / "universal.safetensors", "--device", "cuda")
    widths = ("--widths", "1", "0.5")
    output = ("--output", root / "results")
    protocol = ("--protocol", "knn", "--no-cache", "--data", root / "photos")
    said_by("transfer.command", "folder", *widths, *common, *output, *protocol)
    said_by("transfer.command", "folder", "--width", "0.5", *common, *output, "--data", root / "photos",
            "--protocol", "finetune", "--epochs", "1", "--batch", "3")  # fmt: skip
    results = [json.loads(path.read_text()) for path in sorted((root / "results").rglob("result.json"))]
    for gpu in range(2):
        torch.cuda.reset_peak_memory_stats(gpu)
    said_by("tools.embed", root / "photos/train", *widths, *common, "--output", root / "features", "--batch", "3")
    peaks = [torch.cuda.max_memory_allocated(gpu) - torch.cuda.memory_allocated(gpu) for gpu in range(2)]
    with np.load(root / "features/features.npz") as arrays:
        features = {name: list(arrays[name].shape) for name in arrays}
    converted = said_by("tools.convert", common[1], "--width", "0.5", "--to", "torchvision", "--output", root / "plain")
    images = shown(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "cuda", [0.5] * 3, [0.2] * 3)
    layer = placed(torch.nn.Conv2d(3, 8, 3), "cuda")
    return {
        "precisions": [record["details"]["precision"] for record in results],
        "features": features, "peaks": peaks,
        "converted": Path(converted.splitlines()[-1]).exists(),
        "formats": [x.is_contiguous(memory_format=torch.channels_last) for x in (images, layer.weight)],
    }  # fmt: skip


def test_recognition_features_and_conversion(tmp_path):
    universal(base_channels=8).save(tmp_path / "universal.safetensors")
    for split in ("train", "test"):
        for label in range(2):
            (tmp_path / "photos" / split / str(label)).mkdir(parents=True)
            for number in range(3):
                image = Image.new("RGB", (36, 32), (100 * label, 80 * number, 7))
                image.save(tmp_path / "photos" / split / str(label) / f"{number}.png")
    found = on_null_device(commands, str(tmp_path), devices=2)
    assert found["precisions"] == ["bf16"] * 3 and found["formats"] == [True, True]
    assert found["features"] == {"paths": [6], "1": [6, 64], "0.5": [6, 32]}
    assert min(found["peaks"]) > 1e6  # more than the networks: both saw images
    assert found["converted"]
