"""Pascal VOC's layout: images with an XML file of boxes each, checked before anything trains.

    VOCdevkit/VOC2007/{Annotations,ImageSets/Main,JPEGImages}   trainval for training, test for evaluation
    VOCdevkit/VOC2012/...                                       trainval, more to train on; may be absent

The years may also lie directly in the folder, as below ``DETECTRON2_DATASETS``. Everingham et al., "The Pascal visual
object classes challenge" (IJCV 2010).
"""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pretrain.common.errors import UserError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
CORNERS = ("xmin", "ymin", "xmax", "ymax")
UNNAMED = ("VOCdevkit", "VOC2007", "datasets")  # folders whose name says nothing of the data


@dataclass(frozen=True)
class VocObject:
    """box: (xmin, ymin, xmax, ymax) as in the file: 1-based pixels, the last ones included. difficult: not scored."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class VocImage:
    """name: in ImageSets, e.g. ``000012``."""

    name: str
    file: Path
    width: int
    height: int
    objects: tuple[VocObject, ...]


@dataclass(frozen=True)
class VocSplit:
    """folder: of one year, e.g. ``VOCdevkit/VOC2007``. name: of the image set, e.g. ``trainval``."""

    folder: Path
    name: str
    images: tuple[VocImage, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(found.name for image in self.images for found in image.objects)


@dataclass(frozen=True)
class VocData:
    """name: in results. train: 07 and, where it is there, 12; empty where only an evaluation was asked for."""

    folder: Path
    name: str
    train: tuple[VocSplit, ...]
    val: VocSplit
    classes: tuple[str, ...]

    has_masks = False

    @property
    def train_count(self) -> int | None:
        return sum(len(split.images) for split in self.train) or None

    @property
    def val_count(self) -> int:
        return len(self.val.images)

    @property
    def note(self) -> str:
        """What a user should know of the data beside its size."""
        alone = len(self.train) == 1
        return f"; {self.folder} has no VOC2012, trained is on VOC2007 alone" if alone else ""

    @cached_property
    def object_areas(self) -> tuple[float, ...]:
        """Square pixels of the boxes that are scored."""
        return tuple(area(o.box) for image in self.val.images for o in image.objects if not o.difficult)


def area(box: tuple[float, ...]) -> float:
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def find_voc(data: Path | None) -> tuple[Path, str]:
    """The folder that holds ``VOC2007/``, and the data set's name.

    data: that folder, the one above or VOC2007 itself; None for ``$DETECTRON2_DATASETS``, by default ``datasets/``.
    """
    root = Path(data) if data is not None else Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))
    for folder in (root, root / "VOCdevkit", root.resolve().parent):
        if (folder / "VOC2007/ImageSets").is_dir() and (folder != root.resolve().parent or root.name == "VOC2007"):
            name = root.resolve().name
            return folder, "voc" if data is None or name in UNNAMED else name
    hint = "" if data is not None else "; give --data, or set DETECTRON2_DATASETS"
    raise UserError(f"{root} holds no VOC data: expected VOC2007/ImageSets/Main in it or in its VOCdevkit/{hint}")


def read(data: Path | None, need_train: bool = True) -> VocData:
    """Find, read and check a data set. Errors: UserError, in one line, for whatever would stop a training later.

    Class names are the standard 20; where an annotation has another, they are those that occur, sorted.
    """
    folder, name = find_voc(data)
    val = read_split(folder / "VOC2007", "test")
    train = []
    if need_train:
        train.append(read_split(folder / "VOC2007", "trainval"))
        if (folder / "VOC2012").is_dir():
            train.append(read_split(folder / "VOC2012", "trainval"))
        if not any(image.objects for split in train for image in split.images):
            raise UserError(f"{folder} has no objects in its trainval images; expected boxes to train on")
    return VocData(folder, name, tuple(train), val, class_names([*train, val]))


def class_names(splits: Iterable[VocSplit]) -> tuple[str, ...]:
    found = frozenset().union(*(split.names for split in splits))
    return CLASSES if found <= set(CLASSES) else tuple(sorted(found))


def read_split(folder: Path, name: str) -> VocSplit:
    """The images that ``folder/ImageSets/Main/<name>.txt`` lists, with their annotations."""
    path = folder / f"ImageSets/Main/{name}.txt"
    if not path.is_file():
        raise UserError(f"no such file: {path}; expected the names of the {name} images, one a line")
    names = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path} is empty; expected the names of the {name} images, one a line")
    present = set(os.listdir(folder / "JPEGImages")) if (folder / "JPEGImages").is_dir() else set()
    absent = [name for name in names if f"{name}.jpg" not in present]
    if absent:
        raise UserError(f"{folder / 'JPEGImages'} lacks {len(absent)} of {len(names)} images of {path.name}, "
                        f"the first is {absent[0]}.jpg")  # fmt: skip
    return VocSplit(folder, name, tuple(read_image(folder, name) for name in names))


def read_image(folder: Path, name: str) -> VocImage:
    """One image's annotation; ``pose``, ``truncated`` and ``difficult`` may be missing from it."""
    path = folder / f"Annotations/{name}.xml"
    try:
        tree = ElementTree.parse(path)
    except FileNotFoundError:
        raise UserError(f"no such file: {path}; expected the annotation of {name}.jpg") from None
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is no valid XML: {error}") from None
    width, height = (int(number(path, tree, f"size/{side}")) for side in ("width", "height"))
    objects = tuple(read_object(path, element, width, height) for element in tree.iter("object"))
    return VocImage(name, folder / f"JPEGImages/{name}.jpg", width, height, objects)


def read_object(path: Path, element: ElementTree.Element, width: int, height: int) -> VocObject:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{path}: an object has no name")
    xmin, ymin, xmax, ymax = box = tuple(number(path, element, f"bndbox/{corner}") for corner in CORNERS)
    if not (xmin <= xmax >= 1 and ymin <= ymax >= 1 and xmin <= width and ymin <= height):
        raise UserError(f"{path}: the box {', '.join(f'{v:g}' for v in box)} of a {name} does not lie in the image; "
                        f"expected xmin, ymin, xmax, ymax within {width} x {height}")  # fmt: skip
    return VocObject(name, box, (element.findtext("difficult") or "0").strip() == "1")


def number(path: Path, element, field: str) -> float:
    """The number in ``field``; UserError if there is none."""
    text = element.findtext(field)
    try:
        return float(text)
    except (TypeError, ValueError):
        raise UserError(f"{path} has no number in '{field}'; found {text!r}") from None
