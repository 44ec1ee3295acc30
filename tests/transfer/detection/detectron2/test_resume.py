"""An interrupted and resumed training is the uninterrupted one."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from tests.requirements import requires
from tests.transfer.detection.conftest import run_of, truncated
from transfer.detection.detect import detect

pytestmark = requires("detection")
# Groups by shape, mirrored images and anchors that are drawn: everything random that a recipe has.
RANDOM = (
    "train.checkpointer.period=2", "train.log_period=1", "dataloader.train.aspect_ratio_grouping=true",
    "dataloader.train.mapper.augmentations.0.short_edge_length=[48,56,64]",
)  # fmt: skip


def seen_images(monkeypatch):
    """The images and sizes of each batch, from here on."""
    from detectron2.modeling import GeneralizedRCNN

    seen, losses = [], GeneralizedRCNN.forward

    def forward(self, batch):
        if self.training:
            seen.append([(x["image_id"], tuple(x["image"].shape)) for x in batch])
        return losses(self, batch)

    monkeypatch.setattr(GeneralizedRCNN, "forward", forward)
    return seen


def test_a_resumed_training_sees_the_same_images_and_ends_with_the_same_weights(
    source, settings, tmp_path, monkeypatch
):
    settings = replace(settings, iterations=4, overrides=RANDOM)
    seen = seen_images(monkeypatch)
    whole = detect(source, 0.5, settings, tmp_path / "whole")
    expected, seen[:] = list(seen), []
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    folder, cut = (run_of(tmp_path / name / settings.data.name / "detection/width_0.5") for name in ("whole", "cut"))
    truncated(cut / "model_final.pth")
    truncated(cut / "checkpoints/iteration_00000004.pt")  # so that it goes on from iteration 2
    with pytest.warns(UserWarning, match="iteration_00000004.pt is damaged or unfinished"):
        resumed = detect(source, 0.5, replace(settings, resume=True), tmp_path / "cut")
    assert len(expected) == 4 and seen == expected[2:]
    states = [torch.load(f / "model_final.pth", weights_only=True)["model"] for f in (folder, cut)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert resumed["metrics"] == whole["metrics"] and resumed["config"] == whole["config"]
    lines = [json.loads(line) for line in (cut / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4]
