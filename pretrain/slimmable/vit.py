"""Slimmable vision transformers. Parameter names are timm's; the embedding dimension shrinks in all layers.

US3L (CVPR 2023), section 4.2: the number of heads stays, so q, k and v shrink within each head. docs/method.md, section
1. ``slim = "inputs"`` is the released program's variant, in which only what the linear layers read shrinks.
"""

from math import isqrt, lcm
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.plain.vit import (
    MLP_RATIO,
    NORM_EPS,
    PatchEmbed,
    PlainViT,
    ViTChannels,
    attention,
    check_image,
    first,
    initialise,
    position_embedding,
)
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.groups import ChannelGroup, Slot, module_slots
from pretrain.slimmable.ops import SlimLayerNorm, Statistics, first_of_each
from pretrain.slimmable.widths import WIDTH_MAX, WIDTH_MIN, WidthSpace, round_channels

SIZES = {"vit_tiny": (192, 6), "vit_small": (384, 12), "vit_base": (768, 12)}  # channels and heads
HEAD = 64  # channels of a head in most programs
SLIM = ("embedding", "inputs")


def qkv_part(tensor: Tensor, heads: int, channels: ViTChannels) -> Tensor:
    """Rows [3 C, ...] of q, k, v -> [3 embed, ...]: the first of each head."""
    return first_of_each(tensor, 0, 3 * heads, channels.embed // heads)


def proj_part(weight: Tensor, heads: int, channels: ViTChannels) -> Tensor:
    """[C, C] -> [embed, inputs]: the columns of what is left of each head, of which the layer reads the first."""
    columns = first_of_each(weight[: channels.embed], 1, heads, channels.embed // heads)
    return columns[:, : channels.inputs]


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The weight laid out as an extracted network has it, which makes the two bit-equal."""
    return F.linear(x, weight.contiguous(), bias.contiguous())


class SlimAttention(nn.Module):
    def __init__(self, embed: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(embed, 3 * embed), nn.Linear(embed, embed)

    def forward(self, x: Tensor, channels: ViTChannels) -> Tensor:
        weight = qkv_part(self.qkv.weight, self.heads, channels)[:, : channels.inputs]
        x = linear(first(x, channels.inputs), weight, qkv_part(self.qkv.bias, self.heads, channels))
        x = first(attention(x, self.heads), channels.inputs)
        return linear(x, proj_part(self.proj.weight, self.heads, channels), self.proj.bias[: channels.embed])


class SlimMlp(nn.Module):
    def __init__(self, embed: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(embed, MLP_RATIO * embed), nn.Linear(MLP_RATIO * embed, embed)

    def forward(self, x: Tensor, channels: ViTChannels) -> Tensor:
        embed, inputs = channels.embed, channels.inputs
        hidden, read = MLP_RATIO * embed, MLP_RATIO * inputs
        x = F.gelu(linear(first(x, inputs), self.fc1.weight[:hidden, :inputs], self.fc1.bias[:hidden]))
        return linear(first(x, read), self.fc2.weight[:embed, :read], self.fc2.bias[:embed])


class SlimBlock(nn.Module):
    def __init__(self, embed: int, heads: int):
        super().__init__()
        self.norm1, self.attn = SlimLayerNorm(embed, NORM_EPS), SlimAttention(embed, heads)
        self.norm2, self.mlp = SlimLayerNorm(embed, NORM_EPS), SlimMlp(embed)

    def forward(self, x: Tensor, channels: ViTChannels) -> Tensor:
        x = x + self.attn(self.norm1(x), channels)
        return x + self.mlp(self.norm2(x), channels)


class SlimViT(SlimBackbone):
    """``backbone(x, width)``: [B, 3, image_size, image_size] -> [B, c(w)], the class token.

    It has no batch norm, so it needs no statistics and no calibration. The patch projection is random and frozen and
    the position embedding fixed, as in MoCo v3: parameters that need no gradient, saved and extracted like any other.

    name: ``vit_tiny``, ``vit_small`` or ``vit_base``, see ``SIZES``. patch_size: by default 16, 4 for images
    smaller than 64 px. slim: ``embedding``, or ``inputs`` for full features whose layers read the first c(w) of their
    inputs. Both round c(w) to a multiple of lcm(8, heads). heads: of the attention, by default those of ``SIZES``
    (MoCo v3's); timm's networks have one for 64 channels.
    """

    def __init__(
        self,
        name: str,
        image_size: int = 224,
        patch_size: int | None = None,
        depth: int = 12,
        slim: str = "embedding",
        input_channels: int = 3,
        heads: int | None = None,
    ):
        super().__init__(input_channels)
        patch_size = patch_size or (16 if image_size >= 64 else 4)
        if image_size % patch_size:
            raise UserError(f"patches of {patch_size} px do not fill an image of {image_size} px; expected a divisor")
        self.name, self.image_size, self.patch_size, self.depth, self.slim = name, image_size, patch_size, depth, slim
        self.embed, usual = SIZES[name]
        self.heads = heads or usual
        if self.embed % (2 * self.heads):
            raise UserError(f"{self.embed} channels in {self.heads} heads; expected an even number in each")
        self.patch_embed = PatchEmbed(self.embed, patch_size, input_channels).requires_grad_(False)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.embed))
        self.pos_embed = nn.Parameter(position_embedding(self.embed, image_size // patch_size), requires_grad=False)
        self.blocks = nn.ModuleList(SlimBlock(self.embed, self.heads) for _ in range(depth))
        self.norm = SlimLayerNorm(self.embed, NORM_EPS)
        initialise(self)

    @property
    def arguments(self) -> dict:
        return {
            "name": self.name, "image_size": self.image_size, "patch_size": self.patch_size, "depth": self.depth,
            "slim": self.slim, **self.input_arguments,
            **({} if self.heads == SIZES[self.name][1] else {"heads": self.heads}),
        }  # fmt: skip

    @property
    def divisor(self) -> int:
        return lcm(8, self.heads)

    def channels(self, width: float) -> ViTChannels:
        """One number for all layers: that of the residual stream, or of the inputs alone."""
        count = round_channels(self.embed, width, self.divisor)
        return ViTChannels(self.embed if self.slim == "inputs" else count, count)

    def width_space(self, low: float = WIDTH_MIN, high: float = WIDTH_MAX) -> WidthSpace:
        return WidthSpace.of(self.channels, {self.embed}, low, high, self.divisor)

    def num_features(self, width: float) -> int:
        return self.channels(width).embed

    def forward(self, x: Tensor, width: float | ViTChannels, statistics: Statistics | None = None) -> Tensor:
        """statistics: taken as by every backbone and not needed."""
        channels = self.planned(x, width)
        check_image(x, self.image_size)
        c, patches = channels.embed, self.patch_embed.proj
        x = F.conv2d(x, patches.weight[:c], patches.bias[:c], patches.stride).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token[..., :c].expand(len(x), -1, -1), x], dim=1) + self.pos_embed[..., :c]
        for block in self.blocks:
            x = block(x, channels)
        return self.norm(x)[:, 0]

    def groups(self) -> list[ChannelGroup]:
        """Within each head the queries with the keys, and the values; the heads, of which narrow inputs read the first;
        the units of each MLP; the residual stream of all blocks."""
        embed, size, groups = self.embed, self.embed // self.heads, []
        writes = [*module_slots("patch_embed.proj"), Slot("cls_token", 2), Slot("pos_embed", 2)]
        reads = []
        for block in (f"blocks.{n}" for n in range(self.depth)):
            qkv, proj, fc1, fc2 = f"{block}.attn.qkv", f"{block}.attn.proj", f"{block}.mlp.fc1", f"{block}.mlp.fc2"
            for start in range(0, embed, size):
                keys = *module_slots(qkv, start), *module_slots(qkv, embed + start)
                groups.append(ChannelGroup(size, keys))
                values = module_slots(qkv, 2 * embed + start)
                groups.append(ChannelGroup(size, values, (Slot(f"{proj}.weight", 1, start),)))
            heads = tuple(slot for part in range(3) for slot in module_slots(qkv, part * embed))
            groups.append(ChannelGroup(embed, heads, (Slot(f"{proj}.weight", 1),), block=size))
            groups.append(ChannelGroup(MLP_RATIO * embed, module_slots(fc1), (Slot(f"{fc2}.weight", 1),)))
            reads += [Slot(f"{qkv}.weight", 1), Slot(f"{fc1}.weight", 1)]
            for layer in (proj, fc2, f"{block}.norm1", f"{block}.norm2"):
                writes += module_slots(layer)
        return [*groups, ChannelGroup(embed, (*writes, *module_slots("norm")), tuple(reads))]

    @property
    def layouts(self) -> tuple[dict[str, str], ...]:
        """timm's names, which DeiT, DINO and MoCo v3 share, and torchvision's."""
        names = {"cls_token": "class_token", "pos_embed": "encoder.pos_embedding"}
        modules = {"patch_embed.proj": "conv_proj", "norm": "encoder.ln"}
        for n in range(self.depth):
            layer = f"encoder.layers.encoder_layer_{n}"
            modules |= {
                f"blocks.{n}.norm1": f"{layer}.ln_1", f"blocks.{n}.attn.proj": f"{layer}.self_attention.out_proj",
                f"blocks.{n}.norm2": f"{layer}.ln_2", f"blocks.{n}.mlp.fc1": f"{layer}.mlp.0",
                f"blocks.{n}.mlp.fc2": f"{layer}.mlp.3",
            }  # fmt: skip
            names |= {f"blocks.{n}.attn.qkv.{k}": f"{layer}.self_attention.in_proj_{k}" for k in ("weight", "bias")}
        return {}, names | {
            f"{ours}.{k}": f"{theirs}.{k}" for ours, theirs in modules.items() for k in ("weight", "bias")
        }

    def adapted(self, name: str, tensor: Tensor) -> Tensor:
        """A position embedding [1, 1 + n^2, C] of another image size, resampled as DeiT does; one without a place for
        the class token, [1, n^2, C], gets zeros there; all else as it is."""
        if name == "pos_embed" and tensor.dim() == 3 and isqrt(tensor.shape[1]) ** 2 == tensor.shape[1] > 1:
            tensor = F.pad(tensor, (0, 0, 1, 0))
        tokens = tensor.shape[1] - 1 if name == "pos_embed" and tensor.dim() == 3 else 0
        grid = isqrt(max(0, tokens))
        if not grid or grid * grid != tokens or tensor.shape[1] == self.pos_embed.shape[1]:
            return tensor
        size = self.image_size // self.patch_size
        patches = tensor[:, 1:].float().unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
        patches = F.interpolate(patches, (size, size), mode="bicubic", align_corners=False)
        return torch.cat([tensor[:, :1], patches.flatten(2).transpose(1, 2)], dim=1)

    def check_origin(self, file: Path, architecture: dict | None, given: dict) -> None:
        """The same weights with another number of heads are another function."""
        usual = self.embed // HEAD
        if architecture is not None:
            theirs = architecture.get("heads") or SIZES.get(architecture.get("name"), (0, self.heads))[1]
            if theirs != self.heads:
                raise UserError(f"{file} has {theirs} heads, not {self.heads}; expected backbone.heads={theirs}")
        elif "heads" not in given and self.heads != usual:
            raise UserError(
                f"{file} does not say how many heads it has: {self.name} has {usual} in timm, DeiT and DINO, "
                f"{self.heads} in MoCo v3; expected backbone.heads={usual} or backbone.heads={self.heads}"
            )

    def plain(self, channels: ViTChannels, num_classes: int = 0) -> PlainViT:
        return PlainViT(
            channels, self.heads, self.depth, self.image_size, self.patch_size, num_classes, self.name,
            self.input_channels,
        )  # fmt: skip

    def cut(self, name: str, tensor: Tensor, channels: ViTChannels, shape: tuple[int, ...]) -> Tensor:
        if ".attn.qkv." in name:
            tensor = qkv_part(tensor, self.heads, channels)
        elif name.endswith(".attn.proj.weight"):
            tensor = proj_part(tensor, self.heads, channels)
        return super().cut(name, tensor, channels, shape)
