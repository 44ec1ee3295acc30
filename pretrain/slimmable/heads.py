"""The heads that only training needs: projector, predictor h and auxiliary distillation head g.

US3L (CVPR 2023), sections 3.1 and 3.3. Only the projector's first linear shrinks (its input is the backbone's c(w)
features); everything after it keeps its full size. Batch norms take their statistics from the call, as in the backbone.
"""

from torch import Tensor, nn

from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.ops import SlimBatchNorm, SlimLinear, Statistics
from pretrain.slimmable.widths import WIDTH_MAX


class Head(nn.Module):
    """Linear layers, each but the last followed by batch norm and ReLU. [B, c] -> [B, sizes[-1]].

    sizes: features from input to output. hidden_bias, last_bias: of the linears before a norm, of the last one.
    final_norm: end in a batch norm without affine parameters (SimSiam without a momentum encoder, MoCo v3).
    ``Head(**arguments)`` is the same head with other weights.
    """

    def __init__(self, sizes: list[int], hidden_bias: bool = True, last_bias: bool = True, final_norm: bool = False):
        super().__init__()
        self.arguments = {
            "sizes": list(sizes), "hidden_bias": hidden_bias, "last_bias": last_bias, "final_norm": final_norm
        }  # fmt: skip
        biases = [hidden_bias] * (len(sizes) - 2) + [last_bias]
        self.linears = nn.ModuleList(
            SlimLinear(i, o, bias=bias) for i, o, bias in zip(sizes, sizes[1:], biases, strict=False)
        )
        self.norms = nn.ModuleList(SlimBatchNorm(size) for size in sizes[1:-1])
        self.final_norm = SlimBatchNorm(sizes[-1], affine=False) if final_norm else None

    @property
    def outputs(self) -> int:
        """Size of what comes out."""
        return self.arguments["sizes"][-1]

    def forward(self, x: Tensor, statistics: Statistics) -> Tensor:
        for linear, norm in zip(self.linears, self.norms, strict=False):
            x = norm(linear(x), statistics).relu_()
        x = self.linears[-1](x)
        return x if self.final_norm is None else self.final_norm(x, statistics)


def projector(features: int, hidden: int = 2048, outputs: int = 256, final_norm: bool = False) -> Head:
    """Linear-BN-ReLU-Linear-BN-ReLU-Linear from the backbone's features at full width."""
    return Head([features, hidden, hidden, outputs], final_norm=final_norm)


def projector_of(backbone: SlimBackbone, hidden: int, outputs: int, final_norm: bool = False) -> Head:
    """The projector on ``backbone``, which decides how its first layer starts."""
    head = projector(backbone.num_features(WIDTH_MAX), hidden, outputs, final_norm)
    backbone.init_projector(head.linears[0])
    return head


def predictor(features: int, hidden: int = 2048) -> Head:
    """Linear(no bias)-BN-ReLU-Linear that keeps the size: the form of h and of g."""
    return Head([features, hidden, features], hidden_bias=False)


def bias_free_mlp(sizes: list[int]) -> Head:
    """MoCo v3's form: no biases, ending in a batch norm without affine parameters."""
    return Head(sizes, hidden_bias=False, last_bias=False, final_norm=True)
