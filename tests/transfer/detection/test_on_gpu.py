"""Detection on a GPU by both frameworks, from the checkpoint to result.json, as far as a device without values lets it
go: AP is 0, and mmcv, whose wheel may be built for CPUs, pools and suppresses by torchvision and detects
nothing."""

import importlib
import json
from pathlib import Path

import pytest

from tests.nullcuda.program import on_null_device
from tests.requirements import requires

pytestmark = requires("nullcuda")
RECIPES = {"detectron2": "mask_rcnn_fpn_digits.py", "mmdet": "mmdet/mask_rcnn_fpn_small.py"}
POOL = "{'type': 'RoIAlign', 'output_size': 7, 'sampling_ratio': 0, 'use_torchvision': True}"


def whole_run(framework: str, checkpoint: str, data: str, output: str) -> dict:
    """Two iterations of two images, an evaluation, and pictures."""
    import torch
    from torchvision.ops import nms

    from tests.nullcuda.counting import counters
    from tests.nullcuda.values import Plausible
    from tests.tools.test_on_gpu import said_by

    more = []
    if framework == "mmdet":
        operators, proposals = importlib.import_module("mmcv.ops.nms").ext_module, 0.7
        operators.nms = lambda boxes, scores, iou_threshold, offset: (
            nms(boxes, scores, iou_threshold) if iou_threshold == proposals else boxes.new_empty(0, dtype=torch.long)
        )
        more += ["--boxes-only", f"model.roi_head.bbox_roi_extractor.roi_layer={POOL}"]
    arguments = [
        "--framework", framework, "--config", f"configs/transfer/{RECIPES[framework]}",
        "--checkpoint", checkpoint, "--width", 0.5, "--data", data, "--image-size", 64, "--iterations", 2,
        "--output", output, "--device", "cuda", *more,
    ]  # fmt: skip
    with Plausible():
        said = said_by("transfer.command", "coco", *arguments)
    return {"said": said, "convolutions": counters()["convolutions"], "bytes": torch.cuda.max_memory_allocated()}


@pytest.mark.parametrize("framework", [
    pytest.param("detectron2", marks=requires("detection")), pytest.param("mmdet", marks=requires("mmdet")),
])  # fmt: skip
def test_trains_and_evaluates(framework, source, scenes, tmp_path):
    checkpoint = source.net.save(tmp_path / "run/universal.safetensors")
    found = on_null_device(whole_run, framework, str(checkpoint), str(scenes), str(tmp_path / "out"))
    assert "on cuda" in found["said"] and found["convolutions"] > 100 and found["bytes"] > 10e6
    record = json.loads(Path(found["said"].splitlines()[-1]).read_text())
    assert record["metrics"]["box/AP"] == 0.0
    assert record["details"]["framework"] == framework
