"""A universal checkpoint as a teacher: one width of it, or the projector that was kept."""

from pathlib import Path

from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.data.facts import ImageFacts
from pretrain.teachers.settings import TeacherSettings
from pretrain.teachers.teacher import Loaded
from pretrain.universal import UniversalNetwork, load_universal, network_state


class Projection(nn.Module):
    """Normalised images [B, C, H, W] -> the projector's [B, D] at ``width``."""

    def __init__(self, universal: UniversalNetwork, width: float):
        super().__init__()
        self.universal, self.width = universal, width

    def forward(self, x: Tensor) -> Tensor:
        return self.universal.project(x, self.width)


class LastMap(nn.Module):
    """The deepest of the maps of stages."""

    def __init__(self, maps: nn.Module):
        super().__init__()
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[-1]


def universal_teacher(_: str, settings: TeacherSettings, images: ImageFacts) -> Loaded:
    """Errors: UserError for a file that is none, a width that is not calibrated, a projector that was not kept."""
    net = load_universal(settings.weights)
    width = net.width_range[1] if settings.width is None else settings.width
    if settings.output == "projection":
        if net.projector is None:
            raise UserError(
                f"{settings.weights} has no projector to distil from; "
                "expected a teacher that was pretrained with training.keep_projector=True"
            )
        moments = {f"{name}.{i}": t for name, pair in net.moments(width).items() for i, t in enumerate(pair)}
        network, state = Projection(net, width), network_state(net.backbone, net.projector) | moments
    else:
        network, state = net.extract(width, features_only=settings.output == "tokens"), None
        if settings.output == "tokens":
            network = LastMap(network)
    facts = net.metadata
    return Loaded(
        network, f"{facts['method']}-{facts['backbone']['name']}", Path(settings.weights).name, None,
        tuple(facts["mean"]), tuple(facts["std"]), facts["backbone"].get("image_size"), state,
        facts.get("lineage"),
    )  # fmt: skip
