"""The digit scenes of tests/transfer/detection for mmdet's small recipes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.pretrain.helpers import universal
from tests.requirements import demand
from transfer.recipes import FOLDERS
from transfer.source import Source

SMALL = FOLDERS["mmdet"] / "mask_rcnn_fpn_small.py"
# A narrow mask head on few regions: nearly all of a training's time is spent in it.
LIGHT = (
    "model.test_cfg.rcnn.max_per_img=5", "model.train_cfg.rcnn.sampler.num=8", "model.roi_head.mask_head.num_convs=1",
    "model.test_cfg.rcnn.score_thr=0.0", "default_hooks.logger.interval=1",
)  # fmt: skip


@pytest.fixture(scope="session")
def source():
    """A calibrated ResNet-18 of half the channels, with a width that mmdet's own ResNet cannot say."""
    torch.manual_seed(0)
    net = universal(base_channels=32, widths=(1.0, 0.9, 0.5))
    return Source(net, "us3l", net.hash)


@pytest.fixture
def settings(settings):
    """Two iterations of two images at 64 pixels."""
    demand("mmdet")
    return replace(settings, framework="mmdet", recipe=SMALL, overrides=LIGHT)


@pytest.fixture(scope="session")
def narrow(source, tmp_path_factory) -> Path:
    """A config that the converter wrote, of width 0.5."""
    from transfer.convert import convert

    demand("mmdet")
    return convert(source.plain(0.5), "mmdet", tmp_path_factory.mktemp("narrow"), source.metadata)[0]
