"""A checked data set as detectron2 knows data: registered under a name of its own while it is used."""

from collections.abc import Iterator
from contextlib import contextmanager

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import BoxMode

from transfer.detection.data import Data
from transfer.detection.data.voc import VocImage, VocSplit


def names_of(data: Data) -> dict[str, list[str]]:
    """Under what the splits are registered: ``train``, a name for each year, and ``val``."""
    return {
        kind: [f"{data.folder.resolve()}/{kind}{i}" for i in range(len(as_tuple(splits)))]
        for kind, splits in (("train", data.train), ("val", data.val))
    }


@contextmanager
def registered(data: Data) -> Iterator[dict[str, list[str]]]:
    """Register the splits for the length of the block; gives their names."""
    names = names_of(data)
    try:
        for kind, splits in (("train", data.train), ("val", data.val)):
            for name, split in zip(names[kind], as_tuple(splits), strict=True):
                register(name, split, data.classes)
        yield names
    finally:
        for name in [name for kind in names.values() for name in kind]:
            if name in DatasetCatalog:
                DatasetCatalog.remove(name)
            if name in MetadataCatalog:
                MetadataCatalog.remove(name)


def as_tuple(splits) -> tuple:
    if splits is None:
        return ()
    return splits if isinstance(splits, tuple) else (splits,)


def register(name: str, split, classes: tuple[str, ...]) -> None:
    if not isinstance(split, VocSplit):
        register_coco_instances(name, {}, str(split.annotations), str(split.images))
        return
    DatasetCatalog.register(name, lambda: [voc_record(image, classes) for image in split.images])
    MetadataCatalog.get(name).set(thing_classes=list(classes), split=split)


def voc_record(image: VocImage, classes: tuple[str, ...]) -> dict:
    """detectron2's record: corners from 0, the last ones excluded. Difficult objects are trained on, as there."""
    boxes = [(o.box[0] - 1, o.box[1] - 1, o.box[2], o.box[3]) for o in image.objects]
    return {
        "file_name": str(image.file), "image_id": image.name, "width": image.width, "height": image.height,
        "annotations": [
            {"category_id": classes.index(o.name), "bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS}
            for o, box in zip(image.objects, boxes, strict=True)
        ],
    }  # fmt: skip
