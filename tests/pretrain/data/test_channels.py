"""Gray images and images of five channels go through training, calibration, extraction and recognition."""

import json
import warnings

import numpy as np
import pytest
import torch

from pretrain import create_backbone, load_universal
from pretrain.common.errors import UserError
from pretrain.config import validate
from pretrain.data.augmentation import colour
from pretrain.data.augmentation.settings import Augmentation
from pretrain.train import pretrain
from tests.pretrain.data.augmentation.test_colour import drawn
from tests.pretrain.helpers import tiny_config
from transfer.convert import convert
from transfer.recognition.evaluate import evaluate
from transfer.recognition.settings import RecognitionSettings
from transfer.source import Source

BRIGHT = Augmentation(blur=0.5, solarize=0.3, jitter_p=1.0, grayscale=0.5)


@pytest.mark.parametrize("channels", [1, 5])
def test_colours_that_only_rgb_has_are_left_out(channels):
    x = torch.rand(6, channels, 16, 16, dtype=torch.float64)
    parameters = drawn(BRIGHT, x)
    found = colour.colour(x, parameters, BRIGHT)
    for n in range(6):
        image = x[n : n + 1]
        for kind in parameters.order[n]:
            factor = parameters.factors[n, kind]
            if kind == 0:
                image = (image * factor).clamp(0, 1)
            elif kind == 1:
                image = (image * factor + image.mean() * (1 - factor)).clamp(0, 1)
        if parameters.blur[n]:
            sigma = torch.tensor([parameters.sigma[n]]).view(1, 1, 1, 1)
            image = colour.gaussian_blur(image, sigma, colour.blur_kernel(16))
        if parameters.solarize[n]:
            image = torch.where(image >= 128 / 255, 1 - image, image)
        torch.testing.assert_close(found[n : n + 1], image, atol=1e-6, rtol=0)


def arrays(root, channels: int):
    """Two classes of .npy images, bright and dark."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for label, low in (("bright", 128), ("dark", 0)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for n in range(count):
                np.save(folder / f"{n}.npy", random.integers(low, low + 128, (20, 24, channels), dtype=np.uint8))
    return root


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("backbone", [{"base_channels": 8}, {"name": "vit_tiny", "depth": 1, "image_size": 16}])
def test_a_network_of_other_channels_is_trained_extracted_and_evaluated(channels, backbone, tmp_path):
    root = arrays(tmp_path / "data", channels)
    data = {
        "name": "folder", "root": str(root), "image_size": 16, "channels": channels, "images_per_class": None,
        "mean": (0.5,) * channels, "std": (0.25,) * channels,
    }  # fmt: skip
    backbone = backbone if "name" in backbone else {"name": "resnet18", "stem": "cifar", **backbone}
    config = tiny_config(data=data, backbone={"base_channels": None, **backbone}, training={"iterations": 2})
    path = pretrain(config, tmp_path / "run", False, "cpu")
    net = load_universal(path)
    assert net.metadata["backbone"]["input_channels"] == channels
    images = torch.randn(2, channels, 16, 16)
    plain = net.extract(0.5)
    assert torch.equal(plain(images), net(images, 0.5))
    assert net.cost(0.5, 16).macs > 0
    with pytest.raises(UserError, match=rf"\[B, {channels}, H, W\]"):
        net(torch.randn(2, 3, 16, 16), 0.5)
    source = Source(net, "us3l", net.hash)
    [result] = evaluate(source, "folder", root, [0.5], tmp_path / "out", RecognitionSettings("knn"), progress=False)
    assert result.metrics["top1"] >= (100 if "vit" in backbone["name"] else 50)
    with pytest.raises(UserError, match="networks take RGB images, this one takes"):
        convert(plain, "torchvision", tmp_path / "converted", net.metadata)
    assert convert(plain, "safetensors", tmp_path / "converted", net.metadata)


def test_three_channels_leave_no_trace_in_the_config_and_its_hash():
    config = tiny_config()
    assert config.hash == tiny_config(data={"channels": 3, "on_bad": "stop", "max_bad": 0.5}).hash
    assert "input_channels" not in create_backbone("resnet18").arguments
    assert "input_channels" not in json.dumps(config.as_dict())
    gray = tiny_config(data={"channels": 1, "mean": (0.3,), "std": (0.4,)})
    assert gray.hash != config.hash and gray.backbone.input_channels == 1


def test_digits_and_cifar_can_be_gray(tmp_path):
    config = tiny_config(data={"channels": 1, "mean": (0.3,), "std": (0.4,)}, training={"iterations": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert load_universal(pretrain(config, tmp_path, False, "cpu")).backbone.input_channels == 1


@pytest.mark.parametrize(
    ("data", "backbone", "message"),
    [
        ({"channels": 1}, {}, "data.mean has 3 numbers; expected 1"),
        ({"channels": 0}, {}, "data.channels is 0; expected a number from 1"),
        ({"channels": 1, "mean": (0.5,), "std": (0.5,)}, {"input_channels": 3}, "but data.channels is 1"),
    ],
)
def test_channels_that_do_not_fit_are_named(data, backbone, message):
    values = {"data": {"name": "digits", "mean": (0.5,) * 3, "std": (0.5,) * 3, **data}, "backbone": backbone}
    with pytest.raises(UserError, match=message):
        validate(values)
