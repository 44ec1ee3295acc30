"""Optimizers of pretraining, and the method's group regularisation in closed form."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.common.settings import NotNegative, PositiveFloat, PositiveInt, Share, settings
from pretrain.slimmable.ops import SlimBatchNorm, SlimConv2d, SlimDepthwiseConv2d


@settings
class OptimizerSettings:
    """The optimizer, its rate and what draws weights to 0.

    name: ``sgd``, ``lars`` (You et al., 2017; timm's) or ``adamw`` (Loshchilov and Hutter, ICLR 2019; torch's). lr: for
    a batch of ``lr_batch`` images, scaled linearly. lr_batch: the batch that ``lr`` is said for. momentum: of ``sgd``
    and ``lars``. weight_decay: 2 lambda. warmup_epochs: of linear warm-up before the cosine. groups, alpha: of the
    group regularisation, which is the decay of ``sgd``; ``lars`` and ``adamw`` decay by themselves and take alpha = 0.
    alpha_ramp: shares of the training (start, end) between which alpha rises linearly, at once where they are equal;
    None has it constant. group_heads: norms and biases of the heads are grouped too.
    """

    name: Literal["sgd", "lars", "adamw"] = "sgd"
    lr: PositiveFloat = 0.5
    lr_batch: PositiveInt = 512
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NotNegative = 1e-4
    warmup_epochs: NotNegative = 0.0
    groups: PositiveInt = 8
    alpha: float = 0.05
    alpha_ramp: tuple[Share, Share] | None = None
    group_heads: bool = False

    def check(self) -> None:
        """UserError for values that contradict each other."""
        if self.name != "sgd" and self.alpha:
            raise UserError(
                f"optimizer.alpha is {self.alpha:g} with {self.name}, which decays weights by itself; "
                "expected optimizer.alpha = 0"
            )
        if not 0 <= self.alpha * (self.groups - 1) <= 1:
            raise UserError(f"optimizer.alpha is {self.alpha:g}; expected 0 to {1 / max(1, self.groups - 1):.3g}")
        start, end = self.alpha_ramp or (0.0, 1.0)
        if not 0 <= start <= end <= 1 or start == 1:
            raise UserError(f"optimizer.alpha_ramp is {self.alpha_ramp}; expected (start, end) from 0 to below 1, to 1")


BUFFERS = {"sgd": 1, "lars": 1, "adamw": 2}  # tensors of the optimizer for each parameter


def made_later(settings: OptimizerSettings) -> int:
    """Buffers of a parameter that the optimizer makes in its first step; SGD's are there from the start."""
    return 0 if settings.name == "sgd" else BUFFERS[settings.name]


def create_optimizer(settings: OptimizerSettings, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimizer over the trainable parameters of ``model``; lr: scaled to the batch.

    LARS leaves vectors (norms, biases) without decay and adaptation, as BYOL and SimCLR do.
    Errors: UserError where LARS is asked for and timm is missing.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if settings.name == "sgd":  # its weight decay is the regularisation below
        return _sgd(parameters, lr, settings.momentum)
    if settings.name == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=settings.weight_decay, fused=True)
    try:
        from timm.optim import Lars
    except ImportError:
        raise UserError("optimizer.name = 'lars' needs timm; install it with: pip install timm") from None
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return Lars(groups, lr=lr, momentum=settings.momentum)


def _sgd(parameters: list[nn.Parameter], lr: float, momentum: float) -> torch.optim.SGD:
    """torch's fused SGD, its momentum 0 from the start: the same as a first step that sets it to the gradient.

    Left to torch, the buffers are allocated unfilled in the first step, for all parameters at once: a first step that
    fp16's scaler skips leaves them as they were allocated, and a parameter that joins later has none.
    """
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=momentum, fused=True)
    if momentum:
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def group_strength(
    channels: int, weight_decay: float, groups: int, alpha: float, device: torch.device | None = None
) -> Tensor:
    """2 lambda_k of every output channel k, float64 [channels] (US3L, Eq. 5).

    lambda_k = lambda (1 - alpha * group(k)), group(k) = min(floor(k / floor(K / G)), G - 1) with k from 0: channels
    that only wide networks use are regularised less. 2 * lambda = weight_decay.
    """
    size = max(1, channels // groups)
    group = torch.clamp(torch.arange(channels, device=device) // size, max=groups - 1).double()
    return weight_decay * (1 - alpha * group)


class GroupRegularisation:
    """Adds the gradient of sum_k lambda_k ||w_k||^2 (US3L, Eq. 4), 2 lambda_k w_k, to every gradient.

    Grouped by output channel on the backbone's convolutions and batch norms, with ``settings.group_heads`` on the norms
    and biases of the heads too; lambda alone on everything else. Replaces weight decay: with alpha = 0 it is bit-equal
    to SGD's own. Closed form, because a loss term costs 25 times as much.

    model: the module to regularise, parameters without requires_grad left out; backbone: its grouped part.
    """

    def __init__(self, model: nn.Module, backbone: nn.Module, settings: OptimizerSettings):
        grouped = {
            parameter
            for module in backbone.modules()
            if isinstance(module, SlimConv2d | SlimDepthwiseConv2d | SlimBatchNorm)
            for parameter in module.parameters(recurse=False)
        }
        if settings.group_heads:
            grouped |= {parameter for parameter in model.parameters() if parameter.dim() == 1}
        self.settings, self.factor = settings, 1.0
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.ungrouped = [p for p in parameters if p not in grouped or not settings.alpha]
        self.grouped = [p for p in parameters if p in grouped and settings.alpha]
        self.strengths = {len(p): p.new_empty(len(p)) for p in self.grouped}
        self.as_parameters = [_like(self.strengths[len(p)], p) for p in self.grouped]
        self._set_strengths()

    def set_alpha(self, factor: float) -> None:
        """Use ``factor`` times the configured alpha from now on."""
        if factor != self.factor:
            self.factor = factor
            self._set_strengths()

    def _set_strengths(self) -> None:
        settings, alpha = self.settings, self.settings.alpha * self.factor
        for channels, strength in self.strengths.items():
            exact = group_strength(channels, settings.weight_decay, settings.groups, alpha, strength.device)
            strength.copy_(exact)
        for parameter, strength in zip(self.grouped, self.as_parameters):
            if strength.data_ptr() != self.strengths[len(parameter)].data_ptr():
                strength.copy_(_along(self.strengths[len(parameter)], parameter))

    @property
    def terms(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Each parameter with its 2 lambda, or with those of its output channels."""
        return [
            *((p, p.new_full((), self.settings.weight_decay)) for p in self.ungrouped),
            *((p, _along(self.strengths[len(p)], p)) for p in self.grouped),
        ]

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Call after the gradients are reduced and unscaled, before the optimizer's step.

        Parameters without a gradient take no part in the step and are left out.
        """
        if ungrouped := [p for p in self.ungrouped if p.grad is not None]:
            torch._foreach_add_([p.grad for p in ungrouped], ungrouped, alpha=self.settings.weight_decay)
        used = [(p, strength) for p, strength in zip(self.grouped, self.as_parameters) if p.grad is not None]
        if used:
            parameters, strengths = map(list, zip(*used))
            torch._foreach_addcmul_([p.grad for p in parameters], parameters, strengths)

    def loss(self) -> Tensor:
        """The regulariser itself, Eq. 4: what ``add_gradients`` is the gradient of."""
        return sum((p.square() * strength).sum() / 2 for p, strength in self.terms)


def _along(strength: Tensor, parameter: Tensor) -> Tensor:
    """[O] -> [O, 1, …], to go with ``parameter`` [O, …]."""
    return strength.view([-1] + [1] * (parameter.dim() - 1))


def _like(strength: Tensor, parameter: Tensor) -> Tensor:
    """[O] in the shape of ``parameter``. A GPU, which takes all parameters in one go where they agree in shape and
    layout, gets a copy in memory."""
    full = _along(strength, parameter).expand_as(parameter)
    return torch.empty_like(parameter) if parameter.is_cuda and parameter.dim() > 1 else full
