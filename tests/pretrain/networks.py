"""Every backbone, small enough for a test that runs over all of them; small ones with every stem or slicing."""

import pytest

from pretrain.backbones import BACKBONES, list_backbones

VIT = {"image_size": 32, "patch_size": 8, "depth": 2}
LARGER = ("resnet34", "resnet101", "vit_base")  # entries of a table that smaller networks test with every option
TINY = {
    f"{name}-{variant}": (name, {**VIT, "slim": variant} if name.startswith("vit") else {**cnn, "stem": variant})
    for name, cnn in {
        "resnet18": {"base_channels": 16}, "resnet50": {"base_channels": 16}, "mobilenetv2": {"base_channels": 16},
        "resnet34": {"base_channels": 16}, "resnet101": {"base_channels": 16},
        "vit_tiny": {}, "vit_small": {}, "vit_base": {},
    }.items()
    for variant in list(next(iter(BACKBONES[name].choices.values())))[: 1 if name in LARGER else None]
}  # fmt: skip
TINY |= {name: (name, {"patch_size": 2}) for name in ("convnextv2_atto", "convnextv2_femto")}
assert {name for name, _ in TINY.values()} == set(list_backbones())

every_network = pytest.mark.parametrize(("name", "options"), TINY.values(), ids=TINY)
