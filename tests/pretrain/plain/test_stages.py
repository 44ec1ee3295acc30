"""Plain backbones with timm's conveniences: a fresh classifier, or the maps of the stages alone."""

import pytest
import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.plain.stages import StageMaps
from tests.pretrain.helpers import universal
from tests.pretrain.networks import TINY

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["imagenet", "cifar"])
def net(request):
    return universal(stem=request.param, base_channels=8)


def test_a_classifier_is_fresh_and_sits_on_the_same_features(net):
    plain, classifying = net.extract(0.5), net.extract(0.5, num_classes=7)
    inputs = []
    linear = [module for module in classifying.modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(net.backbone.num_features(0.5), 7)]
    linear[0].register_forward_hook(lambda _, given, __: inputs.append(given[0]))
    assert classifying(IMAGES).shape == (2, 7) and not classifying.training
    assert torch.equal(inputs[0], plain(IMAGES)), "bit-equal features"


def test_the_cost_counts_the_classifier_that_extraction_gives(net):
    counted = sum(p.numel() for p in net.extract(0.5, num_classes=7).parameters())
    assert net.cost(0.5, image_size=32, num_classes=7).params == counted


def test_features_only_gives_every_stage_and_says_what_it_gives(net):
    maps = net.extract(0.5, features_only=True)
    found, info = maps(IMAGES), maps.feature_info
    first = 4 if net.backbone.stem == "imagenet" else 1
    assert info.reduction() == [first, 2 * first, 4 * first, 8 * first]
    assert info.channels() == [m.shape[1] for m in found] == list(net.backbone.channels(0.5).outer)
    assert [64 // m.shape[2] for m in found] == info.reduction() and len(info) == 4
    torch.testing.assert_close(found[-1].mean((2, 3)), net.extract(0.5)(IMAGES))


@pytest.mark.parametrize("patch", [2, 3, 5, 7, 16])
def test_strides_of_any_patch_are_those_of_its_maps(patch):
    maps = universal("convnextv2_atto", widths=[0.25], patch_size=patch).extract(0.25, features_only=True)
    assert maps.feature_info.reduction() == [patch, 2 * patch, 4 * patch, 8 * patch]
    side = 8 * patch
    found = maps(torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)))
    assert [side // m.shape[2] for m in found] == maps.feature_info.reduction()


def test_both_at_once_is_refused(net):
    with pytest.raises(UserError, match="expected one of both"):
        net.extract(0.5, num_classes=3, features_only=True)


def test_a_network_without_stages_is_refused():
    with pytest.raises(UserError, match="Linear has no stage maps"):
        StageMaps(nn.Linear(2, 2))


@pytest.mark.parametrize("variant", TINY)
def test_every_backbone_takes_a_classifier_and_all_but_transformers_give_maps(variant):
    name, options = TINY[variant]
    net = universal(name, **options)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert net.extract(0.5, num_classes=3)(images).shape == (2, 3)
    if name.startswith("vit"):
        with pytest.raises(UserError, match="has no stage maps"):
            net.extract(0.5, features_only=True)
        return
    maps = net.extract(0.5, features_only=True)
    found = maps(images)
    assert [m.shape[1] for m in found] == maps.feature_info.channels()
    assert [32 // m.shape[2] for m in found] == maps.feature_info.reduction()
