"""What every slimmable backbone offers to training, calibration, extraction and costs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.slimmable.groups import ChannelGroup
from pretrain.slimmable.ops import SlimBatchNorm
from pretrain.slimmable.widths import WIDTH_MAX, WIDTH_MIN, WidthSpace, check_width, round_channels


class SlimBackbone(nn.Module, ABC):
    """A network that computes at any width with the first channels of its layers; the width is an argument.

    ``forward(x, width, statistics=None)``: [B, 3, H, W] -> [B, num_features(width)]; ``width`` is a number in [0.25, 1]
    or what ``channels`` gives. Channels are an immutable value with a ``key`` that names it in checkpoints.

    input_channels: of the images, 3 for RGB. has_maps: whether ``forward`` takes ``pooled=False``, for the map
    [B, num_features(width), h, w] whose mean over h and w the features are.
    """

    has_maps = False
    stage_channels: tuple[int, ...] = ()  # channels at width 1 of those that a ``Plan`` sets; none where it sets none

    def __init__(self, input_channels: int = 3):
        super().__init__()
        self.input_channels = input_channels

    @property
    def input_arguments(self) -> dict:
        """The part of ``arguments`` about the images, nothing for RGB."""
        return {} if self.input_channels == 3 else {"input_channels": self.input_channels}

    @property
    @abstractmethod
    def arguments(self) -> dict:
        """What ``create_backbone`` needs to build this again."""

    @abstractmethod
    def channels(self, width: float) -> Any:
        """The channels of every layer at ``width``."""

    @abstractmethod
    def width_space(self, low: float = WIDTH_MIN, high: float = WIDTH_MAX) -> WidthSpace:
        """The distinct sub-networks with widths in [low, high]."""

    @abstractmethod
    def num_features(self, width: float) -> int:
        """Number of pooled features at ``width``."""

    @abstractmethod
    def plain(self, channels: Any, num_classes: int = 0) -> nn.Module:
        """An ordinary network of these channels with fresh weights, the target of extraction.

        With ``num_classes`` it ends in a linear classifier, named as the network's reference implementation names it.
        """

    def stage_bounds(self, low: float, high: float) -> list[tuple[int, int]]:
        """The fewest and the most channels of each stage of a plan, where ``low`` to ``high`` were trained."""
        return [(round_channels(full, low), round_channels(full, high)) for full in self.stage_channels]

    def groups(self) -> list[ChannelGroup]:
        """The channels that can be put into another order without a change of the function at width 1.

        None by default: ``sort_channels`` refuses such a backbone.
        """
        return []

    @property
    def layouts(self) -> tuple[Mapping[str, str], ...]:
        """Names of the parameters in other programs' files: a layout each, from ours to theirs where they differ."""
        return ({},)

    def adapted(self, name: str, tensor: Tensor) -> Tensor:
        """A file's tensor for the parameter ``name``, resampled where another size stands for other images."""
        return tensor

    def check_origin(self, file: Path, architecture: dict | None, given: dict) -> None:
        """UserError where the weights of ``file`` would fit and yet be another function, which their shapes don't tell.

        architecture: what the file says that it is, if it says so. given: the options that a person gave.
        """

    def init_projector(self, first: nn.Linear) -> None:
        """Give the projector's layer on this backbone its initial weights, where they aren't torch's default."""

    def unused(self, widths: list[float]) -> list[nn.Parameter]:
        """The parameters that take no part where only ``widths`` run: batch norms that other widths have alone."""
        norms = [module for module in self.modules() if isinstance(module, SlimBatchNorm)]
        return [parameter for norm in norms for parameter in norm.unused(widths)]

    def planned(self, images: Tensor, width: Any) -> Any:
        """The channels that ``forward`` was asked for; UserError for a number outside [0.25, 1].

        Also for images of other channels: a slimmable layer would compute with the channels that there are.
        """
        if images.dim() != 4 or images.shape[1] != self.input_channels:
            raise UserError(
                f"expected images [B, {self.input_channels}, H, W], got a tensor of shape {list(images.shape)}"
            )
        return self.channels(check_width(width)) if isinstance(width, Real | str) else width

    def cut(self, name: str, tensor: Tensor, channels: Any, shape: tuple[int, ...]) -> Tensor:
        """The part of the full parameter ``name`` that ``channels`` use, of ``shape``: the first of each dimension."""
        return tensor[tuple(slice(size) for size in shape)]
