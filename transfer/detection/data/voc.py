"""Pascal VOC's layout: images with an XML file of boxes each, checked before anything trains.

    VOCdevkit/VOC2007/{Annotations,ImageSets/Main,JPEGImages}   trainval for training, test for evaluation
    VOCdevkit/VOC2012/...                                       trainval, more to train on; may be absent

The years may also lie directly in the folder, as below ``DETECTRON2_DATASETS``. Everingham et al., "The Pascal visual
object classes challenge" (IJCV 2010).
"""

import hashlib
import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pretrain.common.errors import UserError
from transfer.detection.data.boxes import Tally, inside
from transfer.targets import data_root

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
CORNERS = ("xmin", "ymin", "xmax", "ymax")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")  # of images, in any case
WORDS = {"": False, "0": False, "1": True, "false": False, "true": True, "no": False, "yes": True, "unspecified": False}
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
    """folder: of one year, e.g. ``VOCdevkit/VOC2007``. name: of the image set, e.g. ``trainval``. note: what was
    changed of it."""

    folder: Path
    name: str
    images: tuple[VocImage, ...]
    note: str = ""

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
        missing = f"; {self.folder} has no VOC2012, trained is on VOC2007 alone" if alone else ""
        return missing + "".join(f"; {split.note}" for split in (*self.train, self.val) if split.note)

    @property
    def categories(self) -> tuple[str, ...]:
        """What the detector's labels 0, 1, ... are, kept with a training and deciding afterwards."""
        return self.classes

    @cached_property
    def hash(self) -> str:
        """Hash of the annotations."""
        return annotation_hash(*self.train, self.val)

    @cached_property
    def val_hash(self) -> str:
        """Hash of the annotations that are evaluated on."""
        return annotation_hash(self.val)

    def prepared(self, folder: Path, write: bool) -> "VocData":
        """Itself: frameworks take the objects that were read."""
        return self

    @cached_property
    def object_areas(self) -> tuple[float, ...]:
        """Square pixels of the boxes that are scored."""
        return tuple(area(o.box) for image in self.val.images for o in image.objects if not o.difficult)


def annotation_hash(*splits: VocSplit) -> str:
    """SHA-256 of what the splits' annotations say."""
    said = [
        [split.name, [[i.name, i.width, i.height, [list(vars(o).values()) for o in i.objects]] for i in split.images]]
        for split in splits
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def area(box: tuple[float, ...]) -> float:
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def find_voc(data: Path | None) -> tuple[Path, str]:
    """The folder that holds ``VOC2007/``, and the data set's name.

    data: that folder, the one above or VOC2007 itself; None for ``$DETECTRON2_DATASETS``, by default ``datasets/``.
    """
    root = data_root(data)
    for folder in (root, root / "VOCdevkit", root.resolve().parent):
        if (folder / "VOC2007/ImageSets").is_dir() and (folder != root.resolve().parent or root.name == "VOC2007"):
            name = root.resolve().name
            return folder, "voc" if data is None or name in UNNAMED else name
    hint = "" if data is not None else "; give --data, or set DETECTRON2_DATASETS"
    raise UserError(f"{root} holds no VOC data: expected VOC2007/ImageSets/Main in it or in its VOCdevkit/{hint}")


def name_of(data: Path | None) -> str:
    """The data set's name in results. UserError where there is none."""
    return find_voc(data)[1]


def read(
    data: Path | None, need_train: bool = True, categories: Iterable[str] | None = None, boxes_only: bool = False
) -> VocData:
    """Find, read and check a data set. Errors: UserError, in one line, for whatever would stop a training later.

    Class names are the standard 20; where a training annotation has another, they are those that occur there, sorted.
    categories: of the training that is evaluated, which decide. boxes_only: nothing changes, there are no masks.
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
    if categories is None:
        categories = class_names(train or [val])
    known = tuple(categories)
    if stray := sorted(val.names - set(known)):
        raise UserError(f"{folder} has objects of the class '{stray[0]}', which was not trained on; the training knows "
                        f"{len(known)}: {', '.join(known)[:100]}")  # fmt: skip
    return VocData(folder, name, tuple(train), val, known)


def class_names(splits: Iterable[VocSplit]) -> tuple[str, ...]:
    found = frozenset().union(*(split.names for split in splits))
    return CLASSES if found <= set(CLASSES) else tuple(sorted(found))


def read_split(folder: Path, name: str) -> VocSplit:
    """The images that ``folder/ImageSets/Main/<name>.txt`` lists, with their annotations."""
    path = folder / f"ImageSets/Main/{name}.txt"
    names = read_names(path, name)
    files = image_files(folder / "JPEGImages")
    absent = [name for name in names if name not in files]
    if absent:
        raise UserError(f"{folder / 'JPEGImages'} lacks {len(absent)} of {len(names)} images of {path.name}, "
                        f"the first is {absent[0]}.jpg (or {', '.join(SUFFIXES[1:])})")  # fmt: skip
    tally = Tally()
    images = tuple(read_image(folder, name, files[name], tally) for name in names)
    said = tally.said()
    return VocSplit(folder, name, images, f"boxes of {folder.name} {name}: {said}" if said else "")


def read_names(path: Path, name: str) -> list[str]:
    """The names that an image set lists: files' names without suffix, each once."""
    expected = f"expected the names of the {name} images, one a line"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text; {expected}") from None
    except OSError:
        raise UserError(f"no such file: {path}; {expected}") from None
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise UserError(f"{path} is empty; {expected}")
    seen: set[str] = set()
    for found in names:
        if found in seen:
            raise UserError(f"{path} lists {found} twice; {expected}")
        if "/" in found or "\0" in found or found in (".", ".."):
            raise UserError(f"{path} lists {found[:80]!r}, which is no file's name; {expected}")
        seen.add(found)
    return names


def image_files(folder: Path) -> dict[str, Path]:
    """The images of a folder by name without suffix; of several of one name VOC's own .jpg, or the first."""
    found: dict[str, Path] = {}
    for file in (
        sorted(os.listdir(folder), key=lambda file: (not file.endswith(".jpg"), file)) if folder.is_dir() else ()
    ):
        stem, suffix = os.path.splitext(file)
        if suffix.lower() in SUFFIXES:
            found.setdefault(stem, folder / file)
    return found


def read_image(folder: Path, name: str, file: Path, tally: Tally) -> VocImage:
    """One image's annotation; ``pose``, ``truncated`` and ``difficult`` may be missing from it."""
    path = folder / f"Annotations/{name}.xml"
    try:
        tree = ElementTree.parse(path)
    except FileNotFoundError:
        raise UserError(f"no such file: {path}; expected the annotation of {file.name}") from None
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise UserError(f"{path} is no valid XML: {' '.join(str(error).split())[:160]}") from None
    width, height = (side(path, tree, f"size/{name}") for name in ("width", "height"))
    objects = (read_object(path, element, width, height, tally) for element in tree.iter("object"))
    return VocImage(name, file, width, height, tuple(found for found in objects if found))


def read_object(path: Path, element: ElementTree.Element, width: int, height: int, tally: Tally) -> VocObject | None:
    """One object, None where nothing is left of its box."""
    name = (element.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{path}: an object has no name")
    xmin, ymin, xmax, ymax = corners = tuple(number(path, element, f"bndbox/{corner}") for corner in CORNERS)
    try:
        if xmin > xmax or ymin > ymax:
            raise ValueError("has a negative size")
        box = inside((xmin - 1, ymin - 1, xmax, ymax), width, height, tally)
    except ValueError as error:
        raise UserError(f"{path}: the box {', '.join(f'{v:g}' for v in corners)} of a {name} {error}; "
                        f"expected xmin, ymin, xmax, ymax within {width} x {height}") from None  # fmt: skip
    if box is None:
        return None
    return VocObject(name, (box[0] + 1, box[1] + 1, box[2], box[3]), truth(path, element, name))


def truth(path: Path, element: ElementTree.Element, name: str) -> bool:
    """Whether an object is marked difficult: 1 and 0, or words for them; nothing means that it is not."""
    text = (element.findtext("difficult") or "").strip().lower()
    if text not in WORDS:
        raise UserError(f"{path}: a {name} is marked difficult by {text[:40]!r}; expected 0 or 1")
    return WORDS[text]


def side(path: Path, tree, field: str) -> int:
    """A side of the image, in pixels."""
    value = number(path, tree, field)
    if value < 1 or value != int(value):
        raise UserError(f"{path} has the {field} {value:g}; expected a positive whole number")
    return int(value)


def number(path: Path, element, field: str) -> float:
    """The finite number in ``field``; UserError if there is none."""
    text = element.findtext(field)
    try:
        value = float(text)
        if not abs(value) <= 1e9:
            raise ValueError
        return value
    except (TypeError, ValueError):
        raise UserError(f"{path} has no number in '{field}'; found {text!r:.80}") from None
