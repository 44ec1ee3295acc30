"""Digit scenes, the embedded detection data: handwritten digits on textured canvases, exact masks, COCO's layout.

Training and validation scenes take their digits from the train and the test split of
``pretrain.data.images.digits``, so a validation scene shows no digit that pretraining or the detector has seen.
Everything is a function of the seed.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from rich.progress import track

from pretrain.common.errors import UserError
from pretrain.common.files import read_object, replacing_folder
from pretrain.common.settings import Ordered, PositiveInt, PositiveShare, Seed, settings
from pretrain.data.images.digits import digits
from transfer.detection.data.coco import TRAIN, VAL

CLASSES = tuple(str(digit) for digit in range(10))
INK = 0.4  # a pixel belongs to a digit's mask where its stroke has at least this share of full ink
VISIBLE = 0.9  # share of a digit that later digits leave uncovered
CANVAS, DIGIT = (10, 110), (170, 255)  # range of the colour values of dark canvases and bright digits, of 255


@settings
class SceneSettings:
    """train, val: numbers of scenes. size: side of a canvas in pixels. objects: fewest and most digits of a scene.

    digit: smallest and largest side of a digit's 8x8 square, as a share of the canvas.
    """

    train: PositiveInt = 400
    val: PositiveInt = 100
    size: PositiveInt = 128
    objects: Annotated[tuple[PositiveInt, PositiveInt], Ordered] = (2, 4)
    digit: Annotated[tuple[PositiveShare, PositiveShare], Ordered] = (0.3, 0.55)
    seed: Seed = 0


DEFAULTS = SceneSettings()


def make_scenes(folder: Path, settings: SceneSettings = DEFAULTS) -> Path:
    """Write the data set to ``folder`` unless it is there already, made with the same settings; returns ``folder``.

    The folder appears in one step, when it is complete. Errors: UserError if ``folder`` holds something else.
    """
    folder, record = Path(folder), json.loads(json.dumps(asdict(settings)))
    if read_object(folder / "scenes.json") == record:
        return folder
    if folder.exists():
        raise UserError(f"{folder} exists, but holds other data than these digit scenes; expected a new folder")
    with replacing_folder(folder) as partial:
        (partial / "annotations").mkdir()
        for index, (name, split, count) in enumerate(((TRAIN, "train", settings.train), (VAL, "test", settings.val))):
            (partial / name).mkdir()
            seed = np.random.SeedSequence([settings.seed, index])
            content = write_split(partial / name, split, count, settings, seed)
            (partial / f"annotations/instances_{name}.json").write_text(json.dumps(content))
        (partial / "scenes.json").write_text(json.dumps(record))
    return folder


def write_split(folder: Path, split: str, count: int, settings: SceneSettings, seed: np.random.SeedSequence) -> dict:
    """Write ``count`` scenes to ``folder`` and return their annotations, the content of an instances file."""
    images, labels = digits(split, 8)
    glyphs, labels = images[:, 0].numpy(), labels.numpy()
    content: dict = {
        "info": {"description": f"digit scenes, {split}"}, "licenses": [], "images": [], "annotations": [],
        "categories": [{"id": i + 1, "name": name, "supercategory": "digit"} for i, name in enumerate(CLASSES)],
    }  # fmt: skip
    for number, child in enumerate(track(seed.spawn(count), f"digit scenes, {split}", transient=True), start=1):
        canvas, objects = scene(np.random.default_rng(child), glyphs, labels, settings)
        file_name = f"{number:06d}.png"
        Image.fromarray(canvas).save(folder / file_name)
        size = {"width": settings.size, "height": settings.size}
        content["images"].append({"id": number, "file_name": file_name, **size})
        for label, mask in objects:
            entry = {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": label + 1, "iscrowd": 0}
            content["annotations"].append({**entry, **geometry(mask)})
    return content


def scene(
    rng: np.random.Generator, glyphs: np.ndarray, labels: np.ndarray, settings: SceneSettings
) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """One canvas, uint8 [S, S, 3], and its digits as (label, visible pixels: bool [S, S])."""
    canvas = texture(rng, settings.size)
    objects: list[tuple[int, np.ndarray]] = []
    wanted = int(rng.integers(settings.objects[0], settings.objects[1] + 1))
    for _ in range(20 * wanted):
        if len(objects) == wanted:
            break
        chosen = int(rng.integers(len(glyphs)))
        ink = place(rng, glyphs[chosen], settings)
        mask = ink >= INK
        if not mask.any() or any((seen & ~mask).sum() < VISIBLE * seen.sum() for _, seen in objects):
            continue
        objects = [(label, seen & ~mask) for label, seen in objects] + [(int(labels[chosen]), mask)]
        canvas = np.where(mask[..., None], rng.uniform(*DIGIT, 3) * (0.6 + 0.4 * ink[..., None]), canvas)
    return canvas.clip(0, 255).round().astype(np.uint8), objects


def place(rng: np.random.Generator, glyph: np.ndarray, settings: SceneSettings) -> np.ndarray:
    """``glyph`` (uint8 [8, 8]) enlarged at a random place: share of ink, [S, S] in 0 to 1."""
    low, high = (round(share * settings.size) for share in settings.digit)
    side = int(rng.integers(low, high + 1))
    x, y = rng.integers(0, settings.size - side + 1, 2)
    ink = np.zeros((settings.size, settings.size))
    enlarged = Image.fromarray(glyph).resize((side, side), Image.Resampling.BICUBIC)
    ink[y : y + side, x : x + side] = np.asarray(enlarged) / 255
    return ink


def texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """A canvas [S, S, 3] of one colour with clouds of three sizes and grain."""
    canvas = np.broadcast_to(rng.uniform(*CANVAS, 3), (size, size, 3)).copy()
    for cells, strength in ((2, 25.0), (8, 12.0), (32, 8.0)):
        cloud = Image.fromarray(rng.normal(0, strength, (cells, cells)).astype(np.float32))
        canvas += np.asarray(cloud.resize((size, size), Image.Resampling.BICUBIC))[..., None]
    return canvas + rng.normal(0, 4, canvas.shape)


def geometry(mask: np.ndarray) -> dict:
    """COCO's bbox [x, y, width, height], area and compressed run lengths of a mask, bool [H, W]."""
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "bbox": coco_mask.toBbox(encoded).tolist(),
        "area": float(coco_mask.area(encoded)),
        "segmentation": {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")},
    }
