"""What a config says of a teacher."""

from typing import Literal

from pretrain.common.errors import UserError
from pretrain.common.settings import PositiveFloat, PositiveInt, Share, Side, settings

NAMES = "timm:MODEL, torchvision:MODEL, universal, or module:function of your own"


@settings
class TeacherSettings:
    """The frozen network that students learn from.

    name: ``timm:MODEL``, ``torchvision:MODEL``, ``universal`` (a checkpoint of this suite, at ``weights``), or
    ``module:function`` of somebody's own, which gives a torch module. weights: its file; by default the published
    weights of timm and torchvision, which are downloaded. prefix: of the weights' names in the file, where several
    networks fit. output: ``features`` (pooled), ``tokens`` (a vector for each patch), or ``projection`` of a universal
    checkpoint that kept its projector.
    width: of a universal checkpoint, by default its largest. image_size: in pixels, to which views are resized; by
    default the teacher's own, and none where it takes any. mean, std: of each channel, for images in [0, 1]; by default
    the teacher's own, and the data's where it has none. fixed_views: how many views of each image there are, whose
    features are computed once and kept on disk; by default every epoch has views of its own. cache: folder that keeps
    them, which trainings of one seed may share; by default in the run's own.
    """

    name: str | None = None
    weights: str | None = None
    prefix: str | None = None
    output: Literal["features", "tokens", "projection"] = "features"
    width: PositiveFloat | None = None
    image_size: Side | None = None
    mean: tuple[Share, ...] | None = None
    std: tuple[PositiveFloat, ...] | None = None
    fixed_views: PositiveInt | None = None
    cache: str | None = None

    def check(self) -> None:
        """UserError without a name, without a file that is needed, or for an option that another kind has."""
        if not self.name:
            raise UserError(f"objective.teacher.name is missing; expected {NAMES}")
        if self.name == "universal" and not self.weights:
            raise UserError("objective.teacher.weights is missing; expected a universal checkpoint")
        if self.name != "universal" and (self.width is not None or self.output == "projection"):
            option = "width" if self.width is not None else "output = 'projection'"
            raise UserError(
                f"objective.teacher.{option} is for universal checkpoints, not for {self.name}; "
                "expected objective.teacher.name = 'universal'"
            )
