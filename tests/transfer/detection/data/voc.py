"""Small data sets in VOC's layout, drawn by the tests."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 64


def write_voc(root: Path, images: dict[str, dict[str, list]], extra: str = "") -> Path:
    """``{"VOC2007/test": {"000001": [("dog", (1, 1, 20, 20), False)]}}``: year and set, image, (name, box, difficult).

    extra: further XML of every object. Returns ``root``.
    """
    for place, annotations in images.items():
        year, name = place.split("/")
        for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (root / year / folder).mkdir(parents=True, exist_ok=True)
        (root / year / f"ImageSets/Main/{name}.txt").write_text("".join(f"{image}\n" for image in annotations))
        for seed, (image, objects) in enumerate(annotations.items()):
            text = "".join(element(*found, extra) for found in objects)
            size = f"<size><width>{SIZE}</width><height>{SIZE}</height><depth>3</depth></size>"
            (root / year / f"Annotations/{image}.xml").write_text(f"<annotation>{size}{text}</annotation>")
            pixels = np.random.default_rng(seed).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
            Image.fromarray(pixels).save(root / year / f"JPEGImages/{image}.jpg")
    return root


def element(name: str, box: tuple, difficult: bool, extra: str) -> str:
    corners = "".join(f"<{c}>{v}</{c}>" for c, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    mark = "<difficult>1</difficult>" if difficult else ""
    return f"<object><name>{name}</name>{extra}{mark}<bndbox>{corners}</bndbox></object>"


WHOLE = "<pose>Unspecified</pose><truncated>0</truncated>"
TWO_YEARS = {
    "VOC2007/trainval": {"000001": [("dog", (1, 1, 30, 40), False)], "000002": []},
    "VOC2007/test": {"000003": [("cat", (5, 5, 20, 20), False), ("dog", (30, 30, 64, 64), True)]},
    "VOC2012/trainval": {"2008_000001": [("person", (10, 1, 30, 64), False)]},
}
