"""An ordinary vision transformer of arbitrary size: what ``extract`` gives. timm's names, no slimmable layer.

Dosovitskiy et al., "An image is worth 16x16 words" (ICLR 2021), with class token and pre-norm blocks; frozen random
patches, fixed position embedding and initial weights as in MoCo v3 (Chen et al., ICCV 2021).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.common.errors import UserError

MLP_RATIO = 4
NORM_EPS = 1e-6


@dataclass(frozen=True)
class ViTChannels:
    """embed: size of the residual stream, of q, of k and of v. inputs: how many of them a linear layer reads (of the
    MLP's hidden units ``MLP_RATIO`` times as many); the same number unless only the inputs are slimmed."""

    embed: int
    inputs: int

    @property
    def key(self) -> str:
        """Names the sub-network in a checkpoint, e.g. ``96`` or, with narrow inputs only, ``192.96``."""
        return str(self.embed) if self.inputs == self.embed else f"{self.embed}.{self.inputs}"


def first(x: Tensor, channels: int) -> Tensor:
    """The first ``channels`` of the last dimension."""
    return x if x.shape[-1] == channels else x[..., :channels]


def position_embedding(embed: int, grid: int) -> Tensor:
    """[1, 1 + grid^2, embed]: MoCo v3's fixed 2-D sines and cosines, zero for the class token.

    Channels 4k to 4k + 3 are the sine and cosine of x, then of y, at frequency k. MoCo v3 has all sines of x first, so
    the first quarter of its channels could not tell two rows apart; in this order every prefix knows both directions.
    At full width the order makes no difference to a network with random initial weights.
    """
    frequency = 10000.0 ** -(torch.arange(embed // 4, dtype=torch.float32) / (embed // 4))
    y, x = (axis.flatten() for axis in torch.meshgrid(*[torch.arange(grid, dtype=torch.float32)] * 2, indexing="ij"))
    x, y = x[:, None] * frequency, y[:, None] * frequency
    patches = torch.stack([x.sin(), x.cos(), y.sin(), y.cos()], dim=2).flatten(1)
    return torch.cat([torch.zeros(1, embed), patches])[None]


@torch.no_grad()
def initialise(vit: nn.Module) -> None:
    """MoCo v3's initial weights of a (plain or slimmable) vision transformer, in place.

    Xavier uniform for linear layers, q, k and v each as a layer of its own, and for the patches; biases 0.
    """
    for name, module in vit.named_modules():
        if isinstance(module, nn.Linear):
            outputs, inputs = module.weight.shape
            bound = math.sqrt(6 / (outputs // (3 if name.endswith("qkv") else 1) + inputs))
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)
    patches = vit.patch_embed.proj
    bound = math.sqrt(6 / (patches.weight[0].numel() + len(patches.weight)))
    nn.init.uniform_(patches.weight, -bound, bound)
    nn.init.zeros_(patches.bias)
    nn.init.normal_(vit.cls_token, std=1e-6)


def check_image(x: Tensor, image_size: int) -> None:
    """UserError unless the images [B, 3, H, W] have the size that the position embedding is for."""
    height, width = x.shape[-2], x.shape[-1]
    if height != image_size or width != image_size:
        raise UserError(f"this vision transformer takes images of {image_size} px, got {height} x {width}")


class PatchEmbed(nn.Module):
    def __init__(self, embed: int, patch_size: int, input_channels: int = 3):
        super().__init__()
        self.proj = nn.Conv2d(input_channels, embed, patch_size, patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, channels: ViTChannels, heads: int):
        super().__init__()
        self.inputs, self.heads = channels.inputs, heads
        self.qkv = nn.Linear(channels.inputs, 3 * channels.embed)
        self.proj = nn.Linear(channels.inputs, channels.embed)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(first(attention(self.qkv(first(x, self.inputs)), self.heads), self.inputs))


def attention(qkv: Tensor, heads: int) -> Tensor:
    """[B, N, 3 C] -> [B, N, C]: q, k, v with ``heads`` heads of C / heads each, scaled by 1 / sqrt(C / heads)."""
    q, k, v = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    def __init__(self, channels: ViTChannels):
        super().__init__()
        self.inputs, self.hidden = channels.inputs, MLP_RATIO * channels.inputs
        self.fc1 = nn.Linear(channels.inputs, MLP_RATIO * channels.embed)
        self.fc2 = nn.Linear(MLP_RATIO * channels.inputs, channels.embed)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(first(F.gelu(self.fc1(first(x, self.inputs))), self.hidden))


class Block(nn.Module):
    def __init__(self, channels: ViTChannels, heads: int):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(channels.embed, NORM_EPS), Attention(channels, heads)
        self.norm2, self.mlp = nn.LayerNorm(channels.embed, NORM_EPS), Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PlainViT(nn.Module):
    """[B, 3, image_size, image_size] -> [B, channels.embed], the class token, through ``head = Identity``.

    Set ``num_classes`` for a linear classifier. Where ``channels.inputs`` is less than ``channels.embed``, linear
    layers read the first channels of what they get. All parameters are trainable here; pretraining froze
    ``patch_embed`` and ``pos_embed``. Errors: UserError for images of another size.
    """

    def __init__(
        self,
        channels: ViTChannels,
        heads: int,
        depth: int = 12,
        image_size: int = 224,
        patch_size: int = 16,
        num_classes: int = 0,
        name: str = "vit",
        input_channels: int = 3,
    ):
        super().__init__()
        self.input_channels = input_channels
        self.name, self.channels, self.heads = name, channels, heads
        self.image_size, self.patch_size, self.num_classes = image_size, patch_size, num_classes
        self.patch_embed = PatchEmbed(channels.embed, patch_size, input_channels)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels.embed))
        self.pos_embed = nn.Parameter(position_embedding(channels.embed, image_size // patch_size))
        self.blocks = nn.Sequential(*(Block(channels, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(channels.embed, NORM_EPS)
        self.head = nn.Linear(channels.embed, num_classes) if num_classes else nn.Identity()
        initialise(self)

    def timm_arguments(self) -> dict:
        """Arguments of ``timm.models.vision_transformer.VisionTransformer`` for the same network.

        Errors: UserError for narrow inputs, which timm's class cannot say.
        """
        if self.channels.inputs != self.channels.embed:
            raise UserError(
                f"linear layers read {self.channels.inputs} of {self.channels.embed} channels (slim = 'inputs'), which "
                "timm's VisionTransformer cannot say; expected a backbone that was pretrained with slim = 'embedding'"
            )
        return {
            "img_size": self.image_size, "patch_size": self.patch_size, "embed_dim": self.channels.embed,
            "depth": len(self.blocks), "num_heads": self.heads, "mlp_ratio": MLP_RATIO, "num_classes": self.num_classes,
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        check_image(x, self.image_size)
        x = self.patch_embed(x)
        # x.shape[0], because len(x) is a fixed number to an exporter
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])
