"""Settings of a recognition evaluation, and the overrides ``key=value`` that a command line gives.

A setting that leaves everything as it would be without it is not recorded, so results of before it keep their place.
"""

import dataclasses
import os
from typing import Annotated, Literal

from pydantic import Field

from pretrain.common.overrides import parse
from pretrain.common.settings import (
    Count,
    NotNegative,
    Numbers,
    PositiveFloat,
    PositiveInt,
    PositiveShare,
    Processes,
    Seed,
    Share,
    read,
    settings,
)
from transfer.recognition.finetune import FinetuneSettings, finetune_settings
from transfer.recognition.probe import ProbeSettings
from transfer.targets import ProtocolName

FINETUNE = ("weight_decay", "warmup", "layer_decay", "label_smoothing", "mixup")


@settings
class RecognitionSettings:
    """Protocol ``fast``: kNN and a linear probe; ``knn``: the first alone; ``paper``: docs/method.md, section 5;
    ``finetune``: the whole network.

    image_size: px, None for pretraining's. interpolation: of all resizing; None for the checkpoint's own in training
    views and for that of the image size in the rest. batch: images a step; epochs: passes of the linear head;
    learning_rate: of the paper's; None for the protocol's own. learning_rates, weight_decays, validation, num_views
    (augmented, of each image): of the fast probe. neighbours: None for 20, or 200 on large sets. calibration_*: how
    much calibration here sees, None for as much as the checkpoint's own saw. labels: share of each class's training
    images that is learned from, drawn by the seed. Of ``finetune`` alone, see ``FinetuneSettings``: weight_decay,
    warmup, layer_decay, label_smoothing, mixup. Overridden by name on the command line.
    """

    protocol: ProtocolName = "fast"
    image_size: PositiveInt | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    batch: PositiveInt | None = None
    epochs: PositiveInt | None = None
    seed: Seed = 0
    learning_rates: Numbers = ProbeSettings.learning_rates
    weight_decays: Numbers = ProbeSettings.weight_decays
    validation: Annotated[float, Field(gt=0, le=0.5)] = ProbeSettings.validation
    num_views: Count | None = None
    neighbours: PositiveInt | None = None
    temperature: PositiveFloat = 0.07
    learning_rate: PositiveFloat | None = None
    calibration_batch: PositiveInt | None = None
    calibration_batches: PositiveInt | None = None
    labels: PositiveShare = 1.0
    weight_decay: NotNegative = FinetuneSettings.weight_decay
    warmup: Share = FinetuneSettings.warmup
    layer_decay: PositiveShare | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = FinetuneSettings.label_smoothing
    mixup: NotNegative = FinetuneSettings.mixup
    workers: Processes = min(4, os.cpu_count() or 1)

    @property
    def probe(self) -> ProbeSettings:
        """Settings of the fast linear probe."""
        found = ProbeSettings(self.learning_rates, self.weight_decays, validation=self.validation)
        return dataclasses.replace(found, epochs=self.epochs, min_iterations=1) if self.epochs else found

    def finetune(self, backbone: str, images: int) -> FinetuneSettings:
        """The settings of fine-tuning a backbone on so many images."""
        rest = {key: getattr(self, key) for key in FINETUNE if key != "layer_decay"}
        given = self.batch, self.epochs, self.learning_rate, self.layer_decay
        return finetune_settings(backbone, images, *given, **rest)

    def recorded(self) -> dict:
        """What decides the figures, for ``details`` and the config's hash: all but the number of workers."""
        aside = (
            "workers",
            *(() if self.protocol == "finetune" else FINETUNE),
            *(("labels",) if self.labels == 1 else ()),
        )
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in aside}


def override(settings: RecognitionSettings, assignments: list[str]) -> RecognitionSettings:
    """``settings`` with every ``key=value`` applied; UserError names the nearest key for an unknown one, or the value
    that does not fit, be it given here or before."""
    return read(RecognitionSettings, dataclasses.asdict(settings) | dict(map(parse, assignments)), noun="setting")
