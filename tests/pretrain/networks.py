"""Every backbone with every stem or slicing, small enough for a test that runs over all of them."""

import pytest

from pretrain.backbones import BACKBONES, list_backbones

VIT = {"image_size": 32, "patch_size": 8, "depth": 2}
TINY = {
    f"{name}-{variant}": (name, {**VIT, "slim": variant} if name.startswith("vit") else {**cnn, "stem": variant})
    for name, cnn in {
        "resnet18": {"base_channels": 16}, "resnet50": {"base_channels": 16}, "mobilenetv2": {"base_channels": 16},
        "vit_tiny": {}, "vit_small": {},
    }.items()
    for variant in next(iter(BACKBONES[name].choices.values()))
}  # fmt: skip
assert {name for name, _ in TINY.values()} == set(list_backbones())

every_network = pytest.mark.parametrize(("name", "options"), TINY.values(), ids=TINY)
