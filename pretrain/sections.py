"""The sections of a pretraining's config that no other file reads for itself, each a small dataclass.

Those of the optimizer, the monitor, the augmentation and the objectives stand beside what they set.
"""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from pretrain.common.settings import (
    Channels,
    Distinct,
    PositiveFloat,
    PositiveInt,
    Processes,
    Seed,
    Several,
    Share,
    Side,
    Threads,
    Widths,
    settings,
)
from pretrain.data.augmentation.settings import Augmentation, linear_evaluation

LINEAR_EVALUATION = linear_evaluation(32)
Tracked = Literal["wandb", "mlflow", "trackio"]
START = ("weights", "weights_prefix", "weights_sha256", "sort")  # of a backbone, but not of its architecture


@settings
class BackboneSettings:
    """Arguments of ``create_backbone``; None is the backbone's own default, or that it has no such option.

    ``validate`` fills in the defaults. name: of the backbone, or ``module:attribute`` of somebody's own. stem: of a
    CNN, ``imagenet``, ``cifar`` or, of ResNets, ``cifar_half``. base_channels: of a CNN's stem at width 1.
    private_norms: the widths that have batch norms of their own, and no other width runs. image_size: of a vision
    transformer, in pixels; by default that of the data. patch_size: of a vision transformer or a ConvNeXt's stem,
    in pixels. depth: of a vision transformer, in blocks. slim: of a vision transformer, the whole ``embedding`` or
    only the ``inputs`` of its layers. init: which initial weights the backbone starts from. input_channels: of the
    images; by default those of the data. heads: of a vision transformer's attention. weights: start from this file,
    .pth or .safetensors, of any program. weights_prefix: what stands before the names of the network in it, where
    it holds several. weights_sha256: of the file; filled in, and another content is refused where it is given.
    sort: put the channels first that matter most, which narrow networks have, by the scale of their batch norms
    (``bn``), the weights that read them (``l1``) or those times their magnitude on training images
    (``activation``).
    """

    name: str = "resnet18"
    stem: str | None = None
    base_channels: Channels | None = None
    private_norms: Widths | None = None
    image_size: Side | None = None
    patch_size: Side | None = None
    depth: Annotated[int, Field(ge=1, le=1000)] | None = None
    slim: str | None = None
    init: str | None = None
    input_channels: Channels | None = None
    heads: Channels | None = None
    weights: str | None = None
    weights_prefix: str | None = None
    weights_sha256: str | None = None
    sort: Literal["none", "bn", "l1", "activation"] | None = None

    @property
    def arguments(self) -> dict:
        """Those of ``create_backbone`` that are not None."""
        return {key: value for key, value in vars(self).items() if value is not None and key not in START}

    @property
    def start(self) -> dict:
        """What is said of the weights to start from."""
        return {key: value for key in START if (value := getattr(self, key)) is not None}

    def __str__(self) -> str:
        options = (f"{key} {value}" for key, value in self.arguments.items() if key != "name")
        return f"{self.name} ({', '.join(options)})" + (f" from {self.weights}" if self.weights else "")


@settings
class DataSettings:
    """The images and what becomes of them.

    name: of the data set, ``digits``, ``folder``, ``imagenet``, ``cifar10``, ``cifar100``, or ``module:function`` of
    somebody's own. mean, std: of each channel, for images in [0, 1]. root: the folder or file that holds the images, or
    several. image_size: side of a view in pixels. channels: of the images, 3 for RGB, 1 for gray, others as the files
    have them. images_per_class: only the first so many of each class. workers: processes of the loader. decode:
    ``reduced`` decodes a JPEG at 1/2, 1/4 or 1/8 of its size where both views have image_size px left, which is faster
    and close to ``full``. on_bad: ``replace`` an image that cannot be read by the next one of the epoch, or ``stop`` at
    the first. max_bad: share of all images that may be bad before the run stops. views: the augmentation. second_views:
    the augmentation of the second view, where it is another one.
    """

    name: str
    mean: tuple[Share, ...]
    std: tuple[PositiveFloat, ...]
    root: str | tuple[str, ...] | None = None
    image_size: Side = 32
    channels: Channels = 3
    images_per_class: PositiveInt | None = None
    workers: Processes = 0
    decode: Literal["full", "reduced"] = "full"
    on_bad: Literal["replace", "stop"] = "replace"
    max_bad: Share = 0.001
    views: Augmentation = field(default_factory=Augmentation)
    second_views: Augmentation | None = None


@settings
class SamplingSettings:
    """Which widths an iteration runs, see ``WidthSampler``.

    dynamic: the largest network alone at first, then the smallest width falls in stages. sandwich: the largest and the
    smallest width run in every iteration. networks: of an iteration, by default 4, and 3 with ``dynamic``. widths: run
    just these in every iteration, instead of all that. grid: distance of the widths that random ones are rounded to, so
    that compilers and allocators see few shapes; by default every sub-network can be drawn (90 of ResNet-18, 378 of
    ResNet-50).
    """

    dynamic: bool = True
    sandwich: bool = True
    networks: PositiveInt | None = None
    widths: Widths | None = None
    grid: Annotated[float, Field(ge=0.001, le=1)] | None = None


@settings
class TrainingSettings:
    """How long, how large and in which arithmetic a run trains.

    epochs: passes over the images. iterations: their number, instead of ``epochs``. batch_size: images of an
    iteration, over all processes. chunks: parts of the batch that losses and batch norms see, over all processes; by
    default one for each. precision: ``auto`` is bf16 where the device is good at it, else fp32. update: one optimizer
    step per iteration (``accumulate``, the paper) or after each width, largest first (``per_width``, the released
    program), with the momentum encoder after each of these steps too (``per_width_momentum``, its US+BYOL and US+MoCo
    v3). memory: ``low`` runs one backward pass per width, with the same gradients. compile: the backbone by
    torch.compile, a graph for each sub-network, or ``graphs``: the largest network's part of a step as a CUDA graph.
    deterministic: on GPUs, only kernels whose bits repeat; False is faster for vision transformers. keep_projector: in
    the universal checkpoint, which SEED's teachers need. threads: of torch, in each process; by default torch's own
    choice at the start. seed: of everything random. log_interval: iterations between two lines of the log.
    checkpoint_interval: iterations between two checkpoints. checkpoint_minutes: minutes after which one is saved all
    the same, which does not change what is computed. track: report the log's numbers to these programs too, beside
    TensorBoard's events; they change nothing of what is computed, and cannot stop a run.
    """

    epochs: PositiveInt = 400
    iterations: PositiveInt | None = None
    batch_size: PositiveInt = 512
    chunks: PositiveInt | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    update: Literal["accumulate", "per_width", "per_width_momentum"] = "accumulate"
    memory: Literal["normal", "low"] = "normal"
    compile: Literal[False, True, "graphs"] = False
    deterministic: bool = True
    keep_projector: bool = False
    threads: Threads | None = None
    seed: Seed = 0
    log_interval: PositiveInt = 10
    checkpoint_interval: PositiveInt = 500
    checkpoint_minutes: PositiveFloat = 10.0
    track: Annotated[tuple[Tracked, ...], Several, Distinct] = ()


@settings
class CalibrationSettings:
    """The widths of the universal checkpoint, and the images behind their statistics.

    widths: by default the paper's (1 to .3 in tenths, .75 and .25) that lie in the range, and the range's ends.
    batch_size: images that are normalised together. batches: how many of them. views: the augmentation, by default that
    of linear evaluation.
    """

    widths: Widths | None = None
    batch_size: Annotated[int, Field(ge=2)] = 512
    batches: PositiveInt = 20
    views: Augmentation = LINEAR_EVALUATION
