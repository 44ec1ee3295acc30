"""Vision transformers: what a head keeps, timm's network, and the costs that the method states."""

import dataclasses
import math

import pytest
import torch
import torchvision

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.objectives.step import Batch
from pretrain.objectives.us3l import US3L, US3LSettings
from pretrain.optim import GroupRegularisation, OptimizerSettings
from pretrain.plain.vit import ViTChannels, position_embedding
from pretrain.slimmable.vit import SIZES, SLIM
from pretrain.universal import backbone_cost
from tests.pretrain.helpers import universal
from tests.requirements import requires

SMALL = {"image_size": 32, "patch_size": 8, "depth": 2}


def images(count: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(dtype)


def normalised(x, norm, c):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / (variance + 1e-6).sqrt() * norm.weight[:c] + norm.bias[:c]


def by_hand(vit, x, c: int, inputs: int, heads: int):
    """The forward pass written out, a loop over heads; ``c`` of the residual stream, ``inputs`` that a layer reads."""
    full = vit.pos_embed.shape[-1] // heads  # channels of a head at full width
    kept = c // heads
    patches = x.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    tokens = patches @ vit.patch_embed.proj.weight[:c].flatten(1).T + vit.patch_embed.proj.bias[:c]
    x = torch.cat([vit.cls_token[:, :, :c].repeat(len(x), 1, 1), tokens], 1) + vit.pos_embed[:, :, :c]
    for block in vit.blocks:
        y, out = normalised(x, block.norm1, c)[..., :inputs], []
        weight, bias = block.attn.qkv.weight, block.attn.qkv.bias
        for head in range(heads):
            rows = [range(n * full * heads + head * full, n * full * heads + head * full + kept) for n in range(3)]
            q, k, v = (y @ weight[list(r)][:, :inputs].T + bias[list(r)] for r in rows)
            out.append((q @ k.transpose(1, 2) / math.sqrt(kept)).softmax(-1) @ v)
        columns = [head * full + i for head in range(heads) for i in range(kept)][:inputs]
        x = x + torch.cat(out, -1)[..., :inputs] @ block.attn.proj.weight[:c, columns].T + block.attn.proj.bias[:c]
        y = normalised(x, block.norm2, c)[..., :inputs] @ block.mlp.fc1.weight[: 4 * c, :inputs].T
        y = y + block.mlp.fc1.bias[: 4 * c]
        y = (0.5 * y * (1 + torch.erf(y / math.sqrt(2))))[..., : 4 * inputs]
        x = x + y @ block.mlp.fc2.weight[:c, : 4 * inputs].T + block.mlp.fc2.bias[:c]
    return normalised(x, vit.norm, c)[:, 0]


@pytest.mark.parametrize("slim", SLIM)
@pytest.mark.parametrize("width", [1.0, 0.5, 0.25])
@pytest.mark.parametrize("name", SIZES)
def test_the_definition_written_out_with_a_loop_over_heads(name, width, slim):
    net = universal(name, slim=slim, **SMALL).double()
    full, heads = SIZES[name]
    c = int(full * width)
    expected = by_hand(net.backbone, images(2, torch.float64), full if slim == "inputs" else c, c, heads)
    torch.testing.assert_close(net(images(2, torch.float64), width=width), expected)


def test_q_k_and_v_keep_the_first_channels_of_each_head():
    backbone = create_backbone("vit_tiny", **SMALL)
    backbone(images(), 0.5).square().sum().backward()
    rows = backbone.blocks[0].attn.qkv.weight.grad.abs().sum(1).view(3, 6, 32)
    assert (rows[:, :, :16] > 0).all() and (rows[:, :, 16:] == 0).all()
    columns = backbone.blocks[0].attn.proj.weight.grad.abs().sum(0).view(6, 32)
    assert (columns[:, :16] > 0).all() and (columns[:, 16:] == 0).all()


@pytest.mark.parametrize("name", SIZES)
def test_channels_are_multiples_of_24_so_that_every_head_keeps_equally_many(name):
    embed, heads = SIZES[name]
    backbone = create_backbone(name, **SMALL)
    found = {backbone.channels(width) for width in backbone.width_space().names}
    assert found == {ViTChannels(c, c) for c in range(embed // 4, embed + 1, 24)}
    assert all(channels.embed % heads == 0 for channels in found)


@requires("timm")
@pytest.mark.parametrize("width", [1.0, 0.75, 0.5, 0.25])
@pytest.mark.parametrize("name", SIZES)
def test_timms_own_class_loads_every_width_and_computes_the_same(name, width):
    from timm.models.vision_transformer import VisionTransformer

    plain = universal(name, **SMALL).extract(width)
    reference = VisionTransformer(**plain.timm_arguments()).eval()
    reference.load_state_dict(plain.state_dict(), strict=True)
    torch.testing.assert_close(reference(images()), plain(images()), rtol=1e-5, atol=1e-5)


def test_narrow_inputs_are_said_to_be_beyond_timm():
    backbone = create_backbone("vit_tiny", slim="inputs", **SMALL)
    assert backbone.plain(backbone.channels(1.0)).timm_arguments()["embed_dim"] == 192
    with pytest.raises(
        UserError, match="read 96 of 192 channels .* which timm's VisionTransformer cannot say"
    ) as error:
        backbone.plain(backbone.channels(0.5)).timm_arguments()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("width", "params", "macs"), [(1.0, 5.52, 1.25), (0.75, 4.20, 0.99), (0.5, 2.87, 0.73), (0.25, 1.54, 0.47)]
)
def test_costs_of_vit_tiny_with_narrow_inputs(width, params, macs):
    """All parameters without a classifier; MACs of convolution, linear layers and both products of attention."""
    cost = backbone_cost(create_backbone("vit_tiny", slim="inputs"), width, image_size=224)
    assert (round(cost.params / 1e6, 2), round(cost.macs / 1e9, 2)) == (params, macs)


@pytest.mark.parametrize("width", [1.0, 0.75, 0.5, 0.25])
@pytest.mark.parametrize(
    ("name", "size", "patch"),
    [("vit_tiny", 224, 16), ("vit_small", 224, 16), ("vit_base", 224, 16), ("vit_tiny", 32, 4)],
)
def test_costs_in_closed_form(name, size, patch, width):
    """12 c^2 weights a block (3 qkv, 1 proj, 8 MLP), 13 c of biases and norms; attention 2 T^2 c."""
    c, depth, patches = int(SIZES[name][0] * width), 12, (size // patch) ** 2
    tokens = patches + 1
    params = (3 * patch**2 * c + c) + c + tokens * c + depth * (12 * c**2 + 13 * c) + 2 * c
    macs = patches * 3 * patch**2 * c + depth * (12 * c**2 * tokens + 2 * tokens**2 * c)
    assert vars(backbone_cost(create_backbone(name, image_size=size), width, image_size=size)) == {
        "params": params,
        "macs": macs,
    }


def test_vit_base_costs_what_torchvisions_costs():
    """Its parameters, and its published multiply-accumulates, which have the products of attention and a classifier."""
    facts = torchvision.models.ViT_B_16_Weights.IMAGENET1K_V1.meta
    cost = backbone_cost(create_backbone("vit_base"), 1.0, image_size=224, num_classes=1000)
    assert cost.params == facts["num_params"]
    assert round(cost.macs / 1e9, 3) == facts["_ops"]


def test_the_position_embedding_is_moco_v3s_in_an_order_whose_prefixes_know_both_directions():
    """MoCo v3's [sin x, cos x, sin y, cos y] of 48 frequencies each, for 14 x 14 patches, in loops."""
    found = position_embedding(192, 14)[0]
    assert found.shape == (197, 192) and (found[0] == 0).all()
    for patch in (0, 13, 14, 100, 195):
        x, y = patch % 14, patch // 14
        for k in (0, 5, 47):
            omega = 1 / 10000 ** (k / 48)
            expected = [math.sin(x * omega), math.cos(x * omega), math.sin(y * omega), math.cos(y * omega)]
            assert found[1 + patch, 4 * k : 4 * k + 4].tolist() == pytest.approx(expected, abs=1e-5)
    assert len(found[1:, :48].unique(dim=0)) == 196  # the narrowest width tells all patches apart


def test_patches_and_positions_are_frozen_saved_and_extracted_but_never_trained():
    torch.manual_seed(0)
    model = US3L(create_backbone("vit_tiny", **SMALL), US3LSettings(hidden=16, outputs=8))
    frozen = {"patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed"}
    backbone = model.backbone
    assert {name for name, p in backbone.named_parameters() if not p.requires_grad} == frozen
    regularised = {id(parameter) for parameter, _ in GroupRegularisation(model, backbone, OptimizerSettings()).terms}
    for name, parameter in backbone.named_parameters():
        assert (id(parameter) in regularised) == (name not in frozen)
    batch = Batch((images(), images().flip(3)), torch.zeros(len(images())))
    sum(term.value for term in model(batch, [1.0, 0.25]).terms).backward()
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is None) == (name in frozen)
    plain = universal("vit_tiny", **SMALL).extract(0.5)
    assert frozen <= set(plain.state_dict()) and all(p.requires_grad for p in plain.parameters())


def test_nothing_is_calibrated_and_every_width_can_be_used(tmp_path):
    net = universal("vit_tiny", widths=(1.0,), **SMALL)

    def unread():
        raise AssertionError("calibration read images")
        yield

    net.calibrate(unread(), [1.0, 0.3])
    assert not net.needs_calibration and net.statistics == {} and net.metadata["calibration"] == {"widths": []}
    assert net.calibrated_widths == [1.0, 0.9, 0.8, 0.6, 0.5, 0.3, 0.25]
    channels = [net.backbone.channels(width).embed for width in net.calibrated_widths]
    assert channels == [192, 168, 144, 120, 96, 72, 48]
    assert net.reinitialised(seed=1).extract(0.77)(images()).shape == (2, 144)
    with pytest.raises(UserError, match="width 0.2 is outside the range 0.25 to 1"):
        net.calibrate(unread(), [0.2])
    with torch.no_grad():
        net.backbone.norm.weight.mul_(2)  # nothing was estimated, so nothing is stale
    assert net.save(tmp_path / "u.safetensors").is_file() and net.extract(0.33)


def test_images_of_another_size_get_one_line():
    net = universal("vit_tiny", **SMALL)
    for use in (net.backbone.eval(), net.extract):
        with pytest.raises(UserError, match="takes images of 32 px, got 64 x 32"):
            use(torch.randn(1, 3, 64, 32), 1.0) if use is net.backbone else use(1.0)(torch.randn(1, 3, 64, 32))


def test_patches_are_16_px_or_4_in_small_images():
    sizes = {size: create_backbone("vit_tiny", image_size=size, depth=1).patch_size for size in (32, 64, 224)}
    assert sizes == {32: 4, 64: 16, 224: 16}


def test_initial_weights_are_those_of_moco_v3():
    """Xavier uniform; q, k and v each as a layer of their own; a patch projection's fan in is 3 p^2."""
    backbone = create_backbone("vit_tiny", **SMALL)
    bounds = {
        "blocks.0.attn.qkv": 384, "blocks.0.attn.proj": 384, "blocks.1.mlp.fc1": 960, "blocks.1.mlp.fc2": 960,
        "patch_embed.proj": 384,
    }  # fmt: skip
    for name, fans in bounds.items():
        layer, bound = backbone.get_submodule(name), math.sqrt(6 / fans)
        assert 0.98 * bound < layer.weight.abs().max().item() <= bound and (layer.bias == 0).all()
    assert 0 < backbone.cls_token.abs().max() < 1e-5
    with pytest.raises(dataclasses.FrozenInstanceError):
        backbone.channels(0.5).embed = 3
