"""Photographs as they are found: what can be used goes through training and evaluation, what cannot is named."""

import json
import shutil

import pytest
from PIL import Image

from pretrain.common.errors import UserError
from tests.requirements import requires
from tests.transfer.detection.conftest import run_of
from transfer.detection.detect import detect
from transfer.detection.settings import DetectionSettings
from transfer.recipes import FOLDERS
from transfer.results import FILE_NAME

pytestmark = requires("detection", "data")


@pytest.fixture
def coco(real_data, tmp_path):
    """Four training and two validation photographs of COCO, small, with their boxes scaled as masks."""
    folder = tmp_path / "photos"
    for split, count in (("train2017", 4), ("val2017", 2)):
        content = json.loads((real_data / f"coco_mini/annotations/instances_{split}.json").read_text())
        annotated = [i for i in content["images"] if any(a["image_id"] == i["id"] for a in content["annotations"])]
        content["images"] = annotated[:count]
        (folder / split).mkdir(parents=True)
        sizes = {image["id"]: small(real_data / "coco_mini", folder, split, image) for image in content["images"]}
        content["annotations"] = [
            {**a, "bbox": [v * sizes[a["image_id"]] for v in a["bbox"]], "area": a["area"] * sizes[a["image_id"]] ** 2,
             "segmentation": [[v * sizes[a["image_id"]] for v in p] for p in a["segmentation"]]}
            for a in content["annotations"] if a["image_id"] in sizes and not a["iscrowd"]
        ]  # fmt: skip
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    return folder


def small(source, folder, split, image):
    """Write a photograph at 96 pixels and its size into ``image``; returns the scale."""
    with Image.open(source / split / image["file_name"]) as photograph:
        scale = 96 / max(photograph.size)
        photograph.thumbnail((96, 96))
        photograph.save(folder / split / image["file_name"])
        image["width"], image["height"] = photograph.size
    return scale


@pytest.fixture
def trained(source, coco, tmp_path):
    """Train on ``coco`` for a pass over its images and evaluate: the record."""

    def run(iterations=2, **changes):
        fields = {
            "recipe": FOLDERS["detectron2"] / "mask_rcnn_fpn_small.py",
            "data": coco,
            "image_size": 64,
            "device": "cpu",
        }
        settings = DetectionSettings(**{**fields, "iterations": iterations, "batch": 2, **changes})
        return detect(source, 0.5, settings, tmp_path)

    return run


def edit(coco, change, split="train2017"):
    path = coco / f"annotations/instances_{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return content


def json_size(coco, path):
    """Width and height of an image as its annotation says."""
    content = json.loads((coco / f"annotations/instances_{path.parent.name}.json").read_text())
    [image] = [image for image in content["images"] if image["file_name"] == path.name]
    return image["width"], image["height"]


def every_image(coco):
    return sorted([*(coco / "train2017").iterdir(), *(coco / "val2017").iterdir()])


def test_grayscale_and_cmyk_photographs_go_through(trained, coco):
    for number, path in enumerate(every_image(coco)):
        Image.open(path).convert(("L", "CMYK")[number % 2]).save(path)
    record = trained()
    assert record["metrics"]["box/AP"] is not None and record["details"]["train_images"] == 4
    drawn = run_of(coco.parent / "photos/detection/width_0.5") / "predictions"
    assert {path.stem for path in drawn.iterdir()} == {path.stem for path in (coco / "val2017").iterdir()}
    for path in drawn.iterdir():  # annotations on the left, predictions on the right
        with Image.open(path) as picture, Image.open(coco / "val2017" / path.name) as photograph:
            assert picture.width >= 2 * photograph.width and picture.height >= photograph.height
            assert picture.mode == "RGB"


@pytest.mark.parametrize("split", ["train2017", "val2017"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_jpeg_is_refused_by_name_and_nothing_is_lost(trained, coco, split, workers):
    before = trained(1)
    result = run_of(coco.parent / "photos/detection/width_0.5") / FILE_NAME
    path = sorted((coco / split).iterdir())[0]
    path.write_bytes(path.read_bytes()[:200])
    overrides = (f"dataloader.train.num_workers={workers}", f"dataloader.test.num_workers={workers}")
    with pytest.raises(UserError, match=f"{path.name} cannot be used"):
        trained(3, overrides=overrides)
    assert json.loads(result.read_text()) == before
    if split == "val2017":  # the training is over: nothing of it is lost, and the result says what failed
        [failed] = [p for p in result.parents[1].glob(f"*/{FILE_NAME}") if p != result]
        record = json.loads(failed.read_text())
        assert f"{path.name} cannot be used" in record["details"]["failed"]
        assert set(record["metrics"].values()) == {None} and record["details"]["iterations"] == 3
        Image.new("RGB", json_size(coco, path)).save(path)
        again = trained(3, overrides=overrides, eval_only=True)
        assert again["metrics"]["box/AP"] is not None and "failed" not in again["details"]
        assert json.loads(failed.read_text()) == again


def test_an_image_without_objects_is_not_trained_on_but_evaluated(trained, coco):
    for split in ("train2017", "val2017"):
        first = json.loads((coco / f"annotations/instances_{split}.json").read_text())["images"][0]["id"]
        edit(coco, lambda c, n=first: c.update(annotations=[a for a in c["annotations"] if a["image_id"] != n]), split)
    assert trained()["metrics"]["box/AP"] is not None
    log = (run_of(coco.parent / "photos/detection/width_0.5") / "log.txt").read_text()
    assert "Removed 1 images with no usable annotations. 3 images left." in log


def test_crowds_alone_are_nothing_to_train_on(trained, coco):
    edit(coco, lambda c: [a.update(iscrowd=1) for a in c["annotations"]])
    with pytest.raises(UserError, match="has crowds alone; expected objects to train on"):
        trained()


def test_a_class_without_a_box_has_no_figure(trained, coco):
    def extra(content):
        content["categories"].append({"id": 91, "name": "unicorn", "supercategory": "animal"})

    for split in ("train2017", "val2017"):
        edit(coco, extra, split)
    record = trained(1)
    assert record["details"]["classes"] == 81 and record["details"]["per_class_AP"]["box"].get("unicorn", 0) is None


def test_boxes_of_a_pixel_and_of_none_go_through(trained, coco):
    def shrink(content):
        for number, a in enumerate(content["annotations"]):
            x, y, side = int(a["bbox"][0]), int(a["bbox"][1]), number % 2
            a.update(bbox=[x, y, side, side], area=side, segmentation=[[x, y, x + side, y, x + side, y + side]])

    edit(coco, shrink)
    assert trained()["metrics"]["box/AP"] is not None


def test_an_image_of_another_size_than_annotated_is_refused_by_name(trained, coco):
    path = sorted((coco / "train2017").iterdir())[0]
    Image.open(path).resize((50, 60)).save(path)
    with pytest.raises(UserError, match=f"{path.name} is not .* pixels large, as its annotation says"):
        trained()


def test_voc_photographs_of_any_kind_go_through(source, real_data, tmp_path):
    """Gray and CMYK photographs, an image without objects and a box of a pixel in VOC's layout; --eval-only repeats."""
    folder = tmp_path / "VOCdevkit"
    for year, sets in (("VOC2007", ("trainval", "test")),):
        for name in sets:
            listed = (real_data / f"voc_mini/VOCdevkit/{year}/ImageSets/Main/{name}.txt").read_text().split()[:3]
            for number, image in enumerate(listed):
                copy_photograph(
                    real_data / f"voc_mini/VOCdevkit/{year}", folder / year, image, ("RGB", "L", "CMYK")[number]
                )
            (folder / year / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
            (folder / year / f"ImageSets/Main/{name}.txt").write_text("\n".join(listed))
    trainval = (folder / "VOC2007/ImageSets/Main/trainval.txt").read_text().split()
    empty, dot = (folder / f"VOC2007/Annotations/{name}.xml" for name in trainval[:2])
    size = empty.read_text().partition("<object>")[0]
    empty.write_text(size + "</annotation>")
    box = "<bndbox><xmin>7</xmin><ymin>7</ymin><xmax>7</xmax><ymax>7</ymax></bndbox>"
    dot.write_text(f"{dot.read_text().partition('<object>')[0]}<object><name>dog</name>{box}</object></annotation>")
    settings = DetectionSettings(
        "voc", FOLDERS["detectron2"] / "faster_rcnn_fpn_small.py", folder, 2, 64, 2, device="cpu"
    )
    record = detect(source, 0.5, settings, tmp_path / "out")
    assert record["dataset"] == "voc" and record["details"]["train_images"] == 3
    assert len(record["details"]["annotations"]) == 12  # data sets of the same name and size are told apart by it
    assert set(record["metrics"]) == {"box/AP", "box/AP50", "box/AP75"}
    evaluated = DetectionSettings(**{**vars(settings), "eval_only": True})
    assert detect(source, 0.5, evaluated, tmp_path / "out")["metrics"] == record["metrics"]


def copy_photograph(source, target, name, mode):
    for folder in ("JPEGImages", "Annotations"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(source / f"Annotations/{name}.xml", target / "Annotations")
    Image.open(source / f"JPEGImages/{name}.jpg").convert(mode).save(target / f"JPEGImages/{name}.jpg")
