"""A data set in COCO's layout, checked before anything trains.

    annotations/instances_train2017.json   annotations/instances_val2017.json   train2017/   val2017/

Lin et al., "Microsoft COCO: common objects in context" (ECCV 2014). Class names come from the annotations.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pretrain.common.errors import UserError

TRAIN, VAL = "train2017", "val2017"


@dataclass(frozen=True)
class Split:
    """annotations: JSON file. images: folder. masks: ``polygon``, or ``bitmask`` where one is run-length encoded."""

    annotations: Path
    images: Path
    image_count: int
    classes: tuple[str, ...]
    masks: str
    object_areas: tuple[float, ...]  # square pixels, without crowds


@dataclass(frozen=True)
class CocoData:
    """train is None where only an evaluation was asked for."""

    folder: Path
    train: Split | None
    val: Split

    has_masks, note = True, ""

    @property
    def name(self) -> str:
        """In results."""
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
    def classes(self) -> tuple[str, ...]:
        return self.val.classes

    @property
    def mask_format(self) -> str:
        """The format that detectron2's mapper needs for the training masks."""
        return self.train.masks if self.train else "polygon"


def find_coco(data: Path | None) -> Path:
    """The folder that holds ``annotations/``: ``data`` itself, or ``data/coco``.

    data: None means ``$DETECTRON2_DATASETS/coco`` with ``datasets/`` where the variable is not set.
    """
    root = Path(data) if data is not None else Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / "coco"
    for folder in (root, root / "coco"):
        if (folder / "annotations").is_dir():
            return folder
    hint = "" if data is not None else "; give --data, or set DETECTRON2_DATASETS"
    raise UserError(
        f"{root} holds no COCO data: expected annotations/, {TRAIN}/ and {VAL}/ in it or in its coco/{hint}"
    )


def read(data: Path | None, need_train: bool = True) -> CocoData:
    """Find and check a data set. Errors: UserError for whatever would stop detectron2 later, in one line."""
    folder = find_coco(data)
    train, val = (read_split(folder, TRAIN) if need_train else None), read_split(folder, VAL)
    if train and not train.object_areas:
        raise UserError(f"{train.annotations} has crowds alone; expected objects to train on")
    if train and train.classes != val.classes:
        raise UserError(f"{train.annotations.name} and {val.annotations.name} have different categories")
    return CocoData(folder, train, val)


def read_split(folder: Path, name: str) -> Split:
    """Read ``annotations/instances_<name>.json`` and compare it with the images of ``<name>/``."""
    path, images = folder / f"annotations/instances_{name}.json", folder / name
    if not path.is_file():
        raise UserError(f"no such file: {path}; expected COCO's instance annotations")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON: {error}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list) or not content[key]:
            raise UserError(f"{path} has no '{key}'; expected COCO's instance annotations")
    check_annotations(path, content)
    if not images.is_dir():
        raise UserError(f"no such folder: {images}; expected the images of {path.name}")
    present = set(os.listdir(images))
    absent = [image["file_name"] for image in content["images"] if image["file_name"] not in present]
    absent = [file for file in absent if not (images / file).is_file()]
    if absent:
        raise UserError(f"{images} lacks {len(absent)} of {len(content['images'])} images, the first is {absent[0]}")
    objects = [a for a in content["annotations"] if not a.get("iscrowd", 0)]
    return Split(
        annotations=path,
        images=images,
        image_count=len(content["images"]),
        classes=tuple(c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])),
        masks="bitmask" if any(isinstance(a["segmentation"], dict) for a in objects) else "polygon",
        object_areas=tuple(float(a["area"]) for a in objects),
    )


def check_annotations(path: Path, content: dict) -> None:
    """UserError for the first entry that detectron2 or pycocotools could not use."""
    for key, fields in (("images", ("id", "file_name", "height", "width")), ("categories", ("id", "name"))):
        for entry in content[key]:
            missing = [field for field in fields if field not in entry]
            if missing:
                raise UserError(f"{path}: an entry of '{key}' has no '{missing[0]}'; expected {', '.join(fields)}")
    images, categories = ({entry["id"] for entry in content[key]} for key in ("images", "categories"))
    seen: set = set()
    for annotation in content["annotations"]:
        number = annotation.get("id")
        for field in ("id", "image_id", "category_id", "bbox", "area", "segmentation"):
            if field not in annotation or annotation[field] in ([], None):
                raise UserError(f"{path}: annotation {number} has no '{field}'; expected boxes and masks")
        if annotation["image_id"] not in images or annotation["category_id"] not in categories:
            field = "image_id" if annotation["image_id"] not in images else "category_id"
            raise UserError(f"{path}: annotation {number} has an undefined {field}, {annotation[field]}")
        if len(annotation["bbox"]) != 4:
            raise UserError(f"{path}: annotation {number} has a wrong bbox; expected [x, y, width, height]")
        if number in seen:
            raise UserError(f"{path}: annotation id {number} occurs twice; expected unique ids")
        seen.add(number)
