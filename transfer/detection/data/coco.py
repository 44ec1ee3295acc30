"""A data set in COCO's layout, checked before anything trains.

    annotations/instances_train2017.json   annotations/instances_val2017.json   train2017/   val2017/

Lin et al., "Microsoft COCO: common objects in context" (ECCV 2014). Class names come from the annotations, and
images may have any suffix. Frameworks and the evaluation read a cleaned copy of the annotations (``Split.prepared``):
classes in one order, by id; annotations numbered from 1, as pycocotools takes the number 0 for "no match"; boxes as
``boxes.py`` leaves them.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pretrain.common.errors import UserError
from pretrain.common.files import write_text
from transfer.detection.data.boxes import NARROWEST, Tally, inside
from transfer.detection.data.format import Annotation, Image, Instances, entry_name, read_instances, shown
from transfer.detection.data.masks import checked_mask
from transfer.targets import data_root

TRAIN, VAL = "train2017", "val2017"
Categories = tuple[tuple[int, str], ...]  # numbers and names, by number


@dataclass(frozen=True)
class Split:
    """annotations: JSON file. images: folder. masks: ``polygon``, or ``bitmask`` where one is run-length encoded.

    content: of the cleaned file until it is written. hash: of what it was cleaned from. note: what was changed.
    """

    annotations: Path
    images: Path
    image_count: int
    categories: Categories
    masks: str | None
    object_areas: tuple[float, ...]  # square pixels, without crowds
    note: str = ""
    hash: str = ""
    content: dict | None = field(default=None, repr=False)

    def prepared(self, folder: Path, write: bool) -> "Split":
        """The split with its cleaned file in ``folder``, named by its hash; ``write``: unless another training did."""
        path = folder / f"{self.annotations.stem}-{self.hash[:12]}.json"
        if write and not path.is_file():
            write_text(path, json.dumps(self.content))
        return replace(self, annotations=path, content=None)


@dataclass(frozen=True)
class CocoData:
    """train is None where only an evaluation was asked for. has_masks: whether masks are trained and evaluated."""

    folder: Path
    train: Split | None
    val: Split
    has_masks: bool = True
    note: str = ""

    @property
    def name(self) -> str:
        """Name of the data set in results."""
        return self.folder.resolve().name

    @property
    def train_count(self) -> int | None:
        return self.train.image_count if self.train else None

    @property
    def val_count(self) -> int:
        return self.val.image_count

    @property
    def object_areas(self) -> tuple[float, ...]:
        """Square pixels of the validation objects."""
        return self.val.object_areas

    @property
    def categories(self) -> Categories:
        """What the detector's labels 0, 1, ... are, kept with a training and deciding afterwards."""
        return self.val.categories

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.categories)

    @property
    def mask_format(self) -> str:
        """The format that detectron2's mapper needs for the training masks."""
        return (self.train.masks if self.train else None) or "polygon"

    @property
    def hash(self) -> str:
        """Hash of the annotations of both splits."""
        return "-".join(split.hash for split in (self.train, self.val) if split)

    @property
    def val_hash(self) -> str:
        """Hash of the annotations that are evaluated on."""
        return self.val.hash

    def prepared(self, folder: Path, write: bool) -> "CocoData":
        """The data with their cleaned annotations in ``folder``."""
        train = self.train.prepared(folder, write) if self.train else None
        return replace(self, train=train, val=self.val.prepared(folder, write))


def find_coco(data: Path | None) -> Path:
    """The folder that holds ``annotations/``: ``data`` itself, or ``data/coco``.

    data: None means ``$DETECTRON2_DATASETS/coco`` with ``datasets/`` where the variable is not set.
    """
    root = Path(data) if data is not None else data_root() / "coco"
    for folder in (root, root / "coco"):
        if (folder / "annotations").is_dir():
            return folder
    hint = "" if data is not None else "; give --data, or set DETECTRON2_DATASETS"
    raise UserError(
        f"{root} holds no COCO data: expected annotations/, {TRAIN}/ and {VAL}/ in it or in its coco/{hint}"
    )


def name_of(data: Path | None) -> str:
    """The data set's name in results, its folder's. UserError where there is none."""
    return find_coco(data).resolve().name


def read(
    data: Path | None, need_train: bool = True, categories: Iterable | None = None, boxes_only: bool = False
) -> CocoData:
    """Find and check a data set. Errors: UserError for whatever would stop a training later, in one line.

    categories: of the training that is evaluated; None for those of the training's annotations. boxes_only: leave masks
    alone, which is chosen where there are none.
    """
    folder = find_coco(data)
    known = None if categories is None else tuple((number, name) for number, name in categories)
    train = read_split(folder, TRAIN, known, boxes_only) if need_train else None
    if train and not train.object_areas:
        raise UserError(f"{train.annotations} has crowds alone; expected objects to train on")
    val = read_split(folder, VAL, train.categories if train else known, boxes_only)
    splits = [split for split in (train, val) if split]
    bare = [split for split in splits if split.masks is None]
    if bare and len(bare) < len(splits):
        raise UserError(f"{bare[0].annotations} has no masks, the other one has; expected both to, or --boxes-only")
    notes = [f"no masks in {TRAIN} and {VAL}: Faster R-CNN, boxes alone" if bare and not boxes_only else "",
             *(split.note for split in splits)]  # fmt: skip
    return CocoData(folder, train, val, not bare, "".join(f"; {note}" for note in notes if note))


def read_split(folder: Path, name: str, known: Categories | None, boxes_only: bool) -> Split:
    """Read ``annotations/instances_<name>.json`` and compare it with the images of ``<name>/``."""
    path, images = folder / f"annotations/instances_{name}.json", folder / name
    if not path.is_file():
        raise UserError(f"no such file: {path}; expected COCO's instance annotations")
    content, text = read_instances(path)
    boxes_only = boxes_only or not any(annotation.get("segmentation") for annotation in content["annotations"])
    categories = checked_categories(path, content, known)
    check_images(path, images, content["images"])
    tally = Tally()
    annotations = checked_annotations(path, content, {number for number, _ in categories}, boxes_only, tally)
    objects = [a for a in annotations if not a["iscrowd"]]
    rle = any(isinstance(a.get("segmentation"), dict) for a in objects)
    said = tally.said()
    return Split(
        annotations=path,
        images=images,
        image_count=len(content["images"]),
        categories=categories,
        masks=None if boxes_only else "bitmask" if rle else "polygon",
        object_areas=tuple(float(a["area"]) for a in objects),
        note=f"boxes of {name}: {said}" if said else "",
        hash=hashlib.sha256(text + json.dumps([categories, boxes_only]).encode()).hexdigest(),
        content={
            "info": {},
            "images": content["images"],
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in categories],
        },
    )


def checked_categories(path: Path, content: Instances, known: Categories | None) -> Categories:
    """Categories by id. known: those of the training, which decide.

    Errors: UserError for what cannot be told apart, or was not learnt.
    """
    found = sorted((category["id"], category["name"]) for category in content["categories"])
    for i, what in enumerate(("id", "name")):
        twice = [value for value, count in Counter(category[i] for category in found).items() if count > 1]
        if twice:
            raise UserError(f"{path}: the category {what} {shown(twice[0])} occurs twice; expected one of its own for "
                            "each")  # fmt: skip
    if known is None:
        return tuple(found)
    used, numbers = {a["category_id"] for a in content["annotations"]}, {name: number for number, name in known}
    for number, name in found:
        if number in used and name not in numbers:
            raise UserError(f"{path} has objects of the category {shown(name)}, which was not trained on; the training "
                            f"knows {len(known)}: {', '.join(numbers)[:100]}")  # fmt: skip
        if name in numbers and numbers[name] != number:
            raise UserError(f"{path}: the category {shown(name)} has the id {number}, but {numbers[name]} in training; "
                            "expected the same")  # fmt: skip
    if stray := sorted(used - {number for number, _ in found}):
        raise UserError(
            f"{path}: {first_of(content, 'category_id', stray[0])} has an undefined category_id, {stray[0]}"
        )
    return known


def check_images(path: Path, folder: Path, images: list[Image]) -> None:
    """UserError for images that occur twice, lie elsewhere or are not there."""
    for key in ("id", "file_name"):
        twice = [value for value, count in Counter(image[key] for image in images).items() if count > 1]
        if twice:
            raise UserError(f"{path}: the image {key} {shown(twice[0])} occurs twice; expected one of its own for each")
    for image in images:
        parts = PurePosixPath(image["file_name"])
        if parts.is_absolute() or ".." in parts.parts or "\0" in image["file_name"]:
            raise UserError(f"{path}: image {image['id']} has the file_name {shown(image['file_name'])}; expected one "
                            f"in {folder}")  # fmt: skip
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}; expected the images of {path.name}")
    present = set(os.listdir(folder))
    absent = [image["file_name"] for image in images if image["file_name"] not in present]
    absent = [file for file in absent if not os.path.isfile(folder / file)]
    if absent:
        raise UserError(f"{folder} lacks {len(absent)} of {len(images)} images, the first is {absent[0]}")


def checked_annotations(
    path: Path, content: Instances, categories: set[int], boxes_only: bool, tally: Tally
) -> list[dict]:
    """The annotations as they are used, numbered from 1. UserError for the first that does not fit."""
    images = {image["id"]: image for image in content["images"]}
    cleaned: list[dict] = []
    for annotation in content["annotations"]:
        for key, valid in (("image_id", images), ("category_id", categories)):
            if annotation[key] not in valid:
                said = first_of(content, key, annotation[key])
                raise UserError(f"{path}: {said} has an undefined {key}, {annotation[key]}")
        try:
            found = checked_annotation(annotation, images[annotation["image_id"]], boxes_only, tally)
        except ValueError as error:
            said = described(content, annotation)
            raise UserError(f"{path}: {said} {error}") from None
        if found:
            cleaned.append({"id": len(cleaned) + 1, **found})
    return cleaned


def checked_annotation(annotation: Annotation, image: Image, boxes_only: bool, tally: Tally) -> dict | None:
    """One annotation as it is used, None where nothing is left of it. Errors: ValueError."""
    x, y, w, h = annotation["bbox"]
    size = image["width"], image["height"]
    try:
        box = inside((x, y, x + w, y + h), *size, tally)
    except ValueError as error:
        raise ValueError(f"has the bbox {shown(annotation['bbox'])}, which {error}; "
                         "expected [x, y, width, height]") from None  # fmt: skip
    if box is None:
        return None
    kept = [x, y, w, h]
    if box != (x, y, x + w, y + h):
        kept = [box[0], box[1], *(max(NARROWEST, end - start) for start, end in (box[::2], box[1::2]))]
    tally.areas += not annotation["area"]
    found = {
        "image_id": annotation["image_id"], "category_id": annotation["category_id"], "bbox": kept,
        "area": annotation["area"] or kept[2] * kept[3], "iscrowd": int(annotation.get("iscrowd", 0)),
    }  # fmt: skip
    if boxes_only:
        return found
    mask = annotation.get("segmentation")
    if not mask:
        raise ValueError("has no 'segmentation'; expected a mask for each object, or --boxes-only")
    try:
        return {**found, "segmentation": checked_mask(mask, *size, tally)}
    except ValueError as error:
        raise ValueError(f"{error} (segmentation: {shown(mask)})") from None


def described(content: Instances, annotation: Annotation) -> str:
    """An annotation in words."""
    index = next(i for i, other in enumerate(content["annotations"]) if other is annotation)
    return entry_name("annotations", index, annotation)


def first_of(content: Instances, key: str, value: int) -> str:
    """The first annotation with this value, in words."""
    return described(content, next(a for a in content["annotations"] if a[key] == value))
