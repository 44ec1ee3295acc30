"""What can be evaluated: every target, task, metric and detection framework, once. Nothing here imports torch.

A new target is an entry in ``TARGETS`` and the module that it names, which reads its data; a new framework is an entry
in ``FRAMEWORKS`` and its folder. Command lines, result.json, tables, plots, the report, estimates and grids read this.
"""

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

from pretrain.common.errors import UserError, nearest

INITS = ("pretrained", "random")
ProtocolName = Literal["fast", "paper", "knn", "finetune"]


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate a recognition target. text: what it does, in a line.

    passes: over the training images; epochs, where each sees them ``anew``. pass_cost: of a pass, in forward passes.
    """

    text: str
    passes: int
    pass_cost: int = 1
    anew: bool = False


@dataclass(frozen=True)
class Task:
    """What was learned on top of a backbone. caption: in titles. kind: of the targets that it is done on. headline: the
    metrics to show where the target is unknown."""

    caption: str
    kind: str
    headline: tuple[str, ...]


@dataclass(frozen=True)
class TrainingSize:
    """What a detector's recipe takes, for estimates of cost.

    image_size: (height, width) in pixels. head_macs: of the detector without its backbone, for an image of that size
    (docs/method.md, section 5; counted on detectron2's R-50 FPN).
    """

    iterations: int
    batch: int
    image_size: tuple[int, int]
    head_macs: float


@dataclass(frozen=True)
class Target:
    """One target of ``tools/transfer.py``. text: what it is, in a line. kind: the package below transfer/ that
    evaluates it. module: reads its data. images: that are trained on. is_layout: whether it stands for any data set
    in a layout, which its name does not tell then.

    headline: the metrics that tables and plots show, the usual one first. Of detection alone: detector: its title;
    recipe: its file's name in ``configs/transfer``; precisions: what is computed of boxes and of masks; training: the
    recipe's length and size.
    """

    text: str
    kind: str
    module: str
    headline: tuple[str, ...]
    images: int = 50_000
    is_layout: bool = False
    detector: str = ""
    recipe: str = ""
    precisions: dict[str, tuple[str, ...]] | None = None
    training: TrainingSize | None = None

    @property
    def command(self) -> ModuleType:
        """The command line of its kind: ``add_arguments`` and ``main``."""
        return import_module(f"transfer.{self.kind}.command")

    @property
    def reader(self) -> ModuleType:
        """What reads its data: a module with ``SET`` (recognition) or ``name_of`` and ``read`` (detection)."""
        return import_module(self.module)


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "fast": Protocol("kNN and a linear probe on features that are computed once, minutes", 5),
    "knn": Protocol("kNN alone", 1),
    "paper": Protocol(
        "linear evaluation as in the paper, on new views of the images in every epoch (docs/method.md, section 5)", 100,
        anew=True,
    ),
    "finetune": Protocol(  # a backward pass is two forward passes
        "the network of each width trained further with a new classifier, as timm does it", 30, 3, anew=True
    ),
}  # fmt: skip
TASKS = {
    "linear": Task("linear", "recognition", ("top1",)),
    "knn": Task("kNN", "recognition", ("top1",)),
    "finetune": Task("fine-tuned", "recognition", ("top1",)),
    "device": Task("kNN on a device", "recognition", ("top1",)),
    "detection": Task("detection", "detection", ("box/AP", "mask/AP")),
}
# metric -> how it is called; all are in percent, and more is better
METRICS = {
    "top1": "top-1", "top5": "top-5", "class_mean": "class mean", "box/AP": "box AP", "box/AP50": "box AP50",
    "box/AP75": "box AP75", "mask/AP": "mask AP", "mask/AP50": "mask AP50", "mask/AP75": "mask AP75",
}  # fmt: skip
# framework, which is also a format of ``transfer.convert`` -> its ``transfer.detection.framework.Framework``; the first
# is the default
FRAMEWORKS = {
    "detectron2": "transfer.detection.detectron2.framework.Detectron2",
    "mmdet": "transfer.detection.mmdet.framework.Mmdet",
}

COCO_PRECISIONS, VOC_PRECISIONS = ("AP", "AP50", "AP75", "APs", "APm", "APl"), ("AP", "AP50", "AP75")


def _images(name: str, text: str, images: int, headline: str = "top1", is_layout: bool = False) -> Target:
    return Target(text, "recognition", f"transfer.recognition.sets.{name}", (headline,), images, is_layout)


TARGETS = {
    "digits": _images("digits", "scikit-learn's digits, embedded", 1_437),
    "folder": _images("folder", "DATA/{train,test or val}/<class>/ of images", 50_000, is_layout=True),
    "cifar10": _images("cifar10", "CIFAR-10, torchvision's files or train/ and test/ folders", 50_000),
    "cifar100": _images("cifar100", "CIFAR-100, as CIFAR-10", 50_000),
    "flowers": _images("flowers", "Flowers-102", 2_040, "class_mean"),
    "pets": _images("pets", "Oxford-IIIT Pet, 37 breeds", 3_680, "class_mean"),
    "dtd": _images("dtd", "Describable Textures, split 1", 3_760),
    "imagenet": _images("imagenet", "ImageNet, DATA/train/<class>/ and DATA/val/<class>/", 1_281_167),
    "coco": Target(
        "Mask R-CNN on COCO 2017, or on any data set in its layout", "detection", "transfer.detection.data.coco",
        ("box/AP", "mask/AP"), 118_287, is_layout=True, detector="Mask R-CNN", recipe="mask_rcnn_fpn_coco.py",
        precisions={"box": COCO_PRECISIONS, "mask": COCO_PRECISIONS},
        training=TrainingSize(90_000, 16, (800, 1216), 160e9),
    ),
    "voc": Target(
        "Faster R-CNN on Pascal VOC 07+12 trainval, 07 test, or on any data set in its layout", "detection",
        "transfer.detection.data.voc", ("box/AP50", "box/AP"), 16_551, is_layout=True,
        detector="Faster R-CNN", recipe="faster_rcnn_fpn_voc.py", precisions={"box": VOC_PRECISIONS},
        training=TrainingSize(24_000, 16, (800, 1066), 125e9),
    ),
}  # fmt: skip


def target_named(name: str) -> Target:
    """The entry of a target. Errors: UserError for an unknown one, naming the nearest."""
    if name not in TARGETS:
        raise UserError(f"unknown target '{name}'{nearest(name, TARGETS)}")
    return TARGETS[name]


def targets_of(kind: str) -> dict[str, Target]:
    """The targets of ``recognition`` or of ``detection``."""
    return {name: target for name, target in TARGETS.items() if target.kind == kind}


def headline(target: str | None, task: str) -> tuple[str, ...]:
    """The metrics to show of a result, the usual one first: its target's, or its task's where the target is unknown."""
    known = targets_of(TASKS[task].kind)
    return known[target].headline if target in known else TASKS[task].headline


def data_root(data: str | Path | None = None) -> Path:
    """``data``, or the folder that ``DETECTRON2_DATASETS`` names, by default ``datasets``."""
    return Path(data or os.environ.get("DETECTRON2_DATASETS") or "datasets")
