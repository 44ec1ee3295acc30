"""A whole run on a GPU, start to resume to universal checkpoint, as far as a device without values lets it go."""

from pathlib import Path

import torch

from tests.nullcuda.program import on_null_device
from tests.pretrain.helpers import tiny_config, universal
from tests.requirements import requires

pytestmark = requires("nullcuda")


def whole_run(folder: str) -> dict:
    """Trains and resumes for longer; a universal network, whose statistics are numbers, on the device."""
    import contextlib
    import dataclasses
    import io

    from pretrain import train

    # what is compared on the device is never true there, and what is computed need not be a number
    train.Trainer.all_finite = lambda self: True
    train.isfinite = lambda value: True
    config = tiny_config(training={"iterations": 8, "precision": "bf16"}, monitor={"knn_interval": 4, "knn_images": 8})
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        train.pretrain(config, Path(folder), resume=False, device="cuda")
        longer = dataclasses.replace(config, training=dataclasses.replace(config.training, iterations=10))
        path = train.pretrain(longer, Path(folder), resume=True, device="cuda")
    written = path.exists()
    net = universal(base_channels=8).cuda()
    images = torch.randn(4, 3, 32, 32, device="cuda")
    devices = {str(net(images, width).device) for width in net.calibrated_widths}
    plain = net.extract(0.5)
    return {
        "written": written,
        "said": said.getvalue(),
        "devices": sorted(devices),
        "features": plain.cuda()(images).shape[1],
    }


def test_trains_resumes_and_calibrates(tmp_path):
    found = on_null_device(whole_run, str(tmp_path))
    assert "bf16, 1 process(es) on cuda:0" in found["said"] and "deterministic" in found["said"]
    assert "heaviest step: widths 1, 1, 0.75" in found["said"]
    assert "continuing at iteration 8" in found["said"]
    assert found["devices"] == ["cuda:0"] and found["features"] == 32
    assert found["written"]
