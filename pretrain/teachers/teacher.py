"""A frozen network whose outputs students learn: in eval mode, at its own resolution, normalised as it was trained."""

from math import isqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.common.devices import constant
from pretrain.common.errors import UserError
from pretrain.data.facts import ImageFacts
from pretrain.run.device import lay_out
from pretrain.teachers.settings import TeacherSettings
from pretrain.universal import weights_hash


class Loaded(NamedTuple):
    """A network and what is known of it.

    network: normalised images [B, C, H, W] -> features [B, D], maps [B, D, h, w] or tokens [B, h w, D]. name: in
    results and tables. source: where the weights are from. licence: of the weights, None where nobody says. mean, std,
    image_size: what it was trained with; None for those of the student's views. state: all tensors that its outputs
    depend on, by default its state dict. lineage: what trainings of it with other seeds have in common, if it says so.
    """

    network: nn.Module
    name: str
    source: str
    licence: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: int | None = None
    state: dict[str, Tensor] | None = None
    lineage: str | None = None


class Teacher:
    """``teacher(views)``: the student's views [B, C, S, S], normalised for the student -> features [B, D], or with
    ``output = "tokens"`` [B, N, D], row by row of a square of N patches.

    No module: what trains, saves, compiles or sends the student's parameters never meets the teacher's.

    shape: what one image gives, (D,) or (N, D). outputs: D. name, source, licence: see ``Loaded``. hash: SHA-256 of the
    weights. answers: digest of the features of one image, which are others where the code of a network has changed.
    Errors: UserError for a network that refuses such images, or gives something else than finite features.
    """

    def __init__(self, loaded: Loaded, settings: TeacherSettings, images: ImageFacts):
        self.settings, self.network = settings, loaded.network.requires_grad_(False).eval()
        self.name, self.source, self.licence = loaded.name, loaded.source, loaded.licence or "not stated"
        self.lineage = loaded.lineage
        self.image_size = settings.image_size or loaded.image_size
        mean, std = settings.mean or loaded.mean or images.mean, settings.std or loaded.std or images.std
        if not len(mean) == len(std) == images.channels:
            raise UserError(
                f"{self.name} takes images of {len(mean)} channels, the data have {images.channels}; "
                "expected another teacher, or data.channels of its own"
            )
        self.change = None  # from the student's normalisation to the teacher's: x * scale + offset
        if (tuple(mean), tuple(std)) != (tuple(images.mean), tuple(images.std)):
            scale = tuple(a / b for a, b in zip(images.std, std, strict=True))
            offset = tuple((a - b) / c for a, b, c in zip(images.mean, mean, std, strict=True))
            self.change = (scale, offset)
        self.hash = weights_hash(loaded.state or self.network.state_dict())
        features = self._probe(images)
        self.shape, self.outputs = tuple(features.shape[1:]), features.shape[-1]
        self.answers = weights_hash({"features": features.half()})

    def __str__(self) -> str:
        size = "the views' size" if self.image_size is None else f"{self.image_size} px"
        patches = f" of {self.shape[0]} patches" if len(self.shape) > 1 else ""
        return f"{self.name}, {self.outputs} features{patches} at {size}, from {self.source}, licence: {self.licence}"

    @property
    def described(self) -> dict[str, str]:
        """What a universal checkpoint records of it beside its name. lineage: students of one are seeds of one row of a
        table."""
        lineage = self.lineage or self.hash
        return {"source": self.source, "licence": self.licence, "sha256": self.hash, "lineage": lineage}

    @property
    def identity(self) -> dict:
        """What a run that is continued must find again."""
        return {"outputs": self.outputs, "sha256": self.hash}

    def check_same(self, before: dict) -> None:
        """UserError unless this is the teacher whose ``identity`` a run was begun with."""
        expected = "expected the same teacher, or another --work-dir"
        if before["outputs"] != self.outputs:
            raise UserError(
                f"{self.name} gives {self.outputs} features, the run's projector has {before['outputs']}; {expected}"
            )
        if before["sha256"] != self.hash:
            raise UserError(f"the weights of {self.name} are not those that the run was begun with; {expected}")

    def to(self, device: torch.device, precision: str) -> None:
        """Move to where the student is, in the formats that are fastest there."""
        self.network = lay_out(self.network, device, precision)

    @torch.no_grad()
    def __call__(self, views: Tensor) -> Tensor:
        x = views
        if self.change is not None:
            scale, offset = (constant(values, x.device, x.dtype).view(1, -1, 1, 1) for values in self.change)
            x = torch.addcmul(offset, x, scale)
        if self.image_size not in (None, x.shape[-1]):
            x = F.interpolate(x, (self.image_size, self.image_size), mode="bicubic", antialias=True)
        weight = next(self.network.parameters(), x)
        found = self.network(x.to(weight.dtype))
        if found.dim() != 4:
            return found
        return found.flatten(2).transpose(1, 2) if self.settings.output == "tokens" else found.mean((2, 3))

    def _probe(self, images: ImageFacts) -> Tensor:
        """The features [1, D] or [1, N, D] of one image: whatever refuses it does so before any training."""
        size = images.image_size
        image = torch.linspace(-1, 1, images.channels * size * size).view(1, images.channels, size, size)
        try:
            found = self(image)
        except UserError:
            raise
        except Exception as error:  # whatever somebody's network may raise
            given = self.image_size or size
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"{self.name} refuses images of {given} px: {reason}; expected another objective.teacher.image_size"
            ) from None
        tokens = self.settings.output == "tokens"
        if found.dim() != 2 + tokens or len(found) != 1 or (tokens and isqrt(found.shape[1]) ** 2 != found.shape[1]):
            what = "tokens [1, N, D] of a square of N patches" if tokens else "features [1, D]"
            raise UserError(f"{self.name} gives {list(found.shape)} for one image; expected {what}")
        if not found.isfinite().all():
            raise UserError(f"{self.name} gives features that are not finite; expected other weights")
        return found
