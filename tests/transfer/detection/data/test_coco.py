"""A data set that does not fit is refused by one line before anything trains."""

import json
import shutil

import pytest

from pretrain.common.errors import UserError
from tests.requirements import requires
from transfer.detection.data.coco import find_coco
from transfer.detection.data.coco import read as read_coco

pytestmark = requires("detection")


@pytest.fixture
def data(scenes, tmp_path):
    """A copy of the scenes that a test may damage."""
    shutil.copytree(scenes, tmp_path / "coco")
    return tmp_path / "coco"


def refused(data, message, **options):
    with pytest.raises(UserError, match=message) as error:
        read_coco(data, **options)
    assert "\n" not in str(error.value)


def edit(data, change, split="train"):
    path = data / f"annotations/instances_{split}2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_folder_may_be_given_itself_or_one_above_or_by_the_environment(data, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(data.parent))
    assert find_coco(data) == find_coco(data.parent) == find_coco(None) == data
    monkeypatch.setenv("DETECTRON2_DATASETS", str(data))
    with pytest.raises(UserError, match="give --data, or set DETECTRON2_DATASETS"):
        find_coco(None)


def test_without_the_variable_it_is_datasets_coco(data, monkeypatch):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    monkeypatch.chdir(data.parent)
    (data.parent / "datasets").mkdir()
    data.rename(data.parent / "datasets/coco")
    assert read_coco(None).folder.resolve() == (data.parent / "datasets/coco").resolve()


def test_missing_pieces_are_named(data, tmp_path):
    refused(tmp_path / "nowhere", "holds no COCO data: expected annotations/")
    (data / "annotations/instances_train2017.json").unlink()
    refused(data, "no such file: .*instances_train2017.json")
    assert read_coco(data, need_train=False).train is None


@pytest.mark.parametrize("text", ["{", "", '{"images": [1,'])
def test_invalid_json_is_no_annotation_file(data, text):
    (data / "annotations/instances_val2017.json").write_text(text)
    refused(data, "instances_val2017.json is no valid JSON")


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_each_section_must_be_there(data, key):
    edit(data, lambda content: content.pop(key))
    refused(data, f"has no '{key}'")
    (data / "annotations/instances_train2017.json").write_text("[]")
    refused(data, "has no 'images'")


@pytest.mark.parametrize("field", ["segmentation", "bbox", "category_id", "image_id", "area"])
def test_each_annotation_must_have_boxes_masks_and_ids(data, field):
    edit(data, lambda content: content["annotations"][2].pop(field))
    refused(data, f"has no '{field}'")


HERE = "annotation 2 of image 1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][1].update(segmentation=[]), f"{HERE} has no 'segmentation'; expected .*--boxes-on"),
        (lambda c: c["annotations"][1].update(segmentation=[[]]), f"{HERE} has polygons of at most 0 numbers"),
        (lambda c: c["annotations"][1].update(segmentation=[[1, 2]]), f"{HERE} has polygons of at most 2 numbers"),
        (lambda c: c["annotations"][1].update(segmentation=[[1] * 7]), f"{HERE} has a polygon of 7 numbers"),
        (lambda c: c["annotations"][1].update(segmentation=[1, 2, 3, 4, 5, 6]), f"{HERE}: segmentation.0 is 1, but"),
        (lambda c: c["annotations"][1].update(segmentation=[["1"] * 6]), f'{HERE}: segmentation.0.0 is "1", but'),
        (lambda c: c["annotations"][1].update(segmentation=5), f"{HERE}: segmentation is 5, but"),
        (
            lambda c: c["annotations"][1]["segmentation"].update(size=[9, 9]),
            f"{HERE} has run lengths of the size .9, 9",
        ),
        (
            lambda c: c["annotations"][1]["segmentation"].update(counts="PP4PP4"),
            f"{HERE} has run lengths of 8192 pixels",
        ),
        (lambda c: c["annotations"][1]["segmentation"].update(counts=[1, 2]), f"{HERE} has run lengths of 3 pixels"),
        (lambda c: c["annotations"][1].update(category_id=99), f"{HERE} has an undefined category_id, 99"),
        (
            lambda c: c["annotations"][1].update(category_id=True),
            f"{HERE}: category_id is true, but should be a valid in",
        ),
        (lambda c: c["annotations"][1].update(image_id=-1), "annotation 2 of image -1 has an undefined image_id, -1"),
        (lambda c: c["annotations"][1].update(image_id={"a": 1}), 'annotation 2 of image {"a": 1}: image_id is'),
        (lambda c: c["annotations"][1].update(bbox=[1, 2, 3]), f"{HERE}: bbox is \\[1, 2, 3\\], but list should have"),
        (
            lambda c: c["annotations"][1].update(bbox=[1, 2, 3, "4"]),
            f'{HERE}: bbox.3 is "4", but should be a valid num',
        ),
        (
            lambda c: c["annotations"][1].update(bbox=[1, 2, 3, float("nan")]),
            f"{HERE}: bbox.3 is NaN, but should be a fi",
        ),
        (
            lambda c: c["annotations"][1].update(bbox=[9, 9, -3, 4]),
            f"{HERE} has the bbox .*, which has a negative size",
        ),
        (
            lambda c: c["annotations"][1].update(bbox=[70, 9, 3, 4]),
            f"{HERE} has the bbox .*, which does not lie in the",
        ),
        (lambda c: c["annotations"][1].update(area=-1), f"{HERE}: area is -1, but should be greater"),
        (lambda c: c["annotations"][1].update(iscrowd="no"), f'{HERE}: iscrowd is "no"'),
        (lambda c: c["images"][0].pop("height"), "image 1 has no 'height'"),
        (lambda c: c["images"][0].update(width=0), "image 1: width is 0, but should be greater"),
        (lambda c: c["images"][1].update(id=1), "the image id 1 occurs twice"),
        (lambda c: c["images"][1].update(file_name="000001.png"), "the image file_name .000001.png. occurs twice"),
        (lambda c: c["images"][1].update(file_name="../x.png"), "image 2 has the file_name .*expected one in"),
        (lambda c: c["categories"][1].update(name="0"), "the category name .0. occurs twice"),
        (lambda c: c["categories"][1].update(id=1), "the category id 1 occurs twice"),
        (lambda c: c["categories"][1].update(name=True), "category 2: name is true, but should be a valid string"),
        (lambda c: c["categories"].pop(), "undefined category_id|was not trained on"),
        (lambda c: c["categories"][0].update(name="zero"), 'objects of the category "0", which was not trained on'),
        (lambda c: c["annotations"].insert(0, None), "entry 0 of 'annotations': it is null"),
    ],
)
def test_what_does_not_fit_is_named_with_image_annotation_and_value(data, change, message):
    edit(data, change)
    refused(data, message)


def test_a_category_has_one_number_in_both_files(data):
    def swapped(content):
        content["categories"][0]["id"], content["categories"][1]["id"] = 2, 1

    edit(data, swapped, "val")
    refused(data, 'the category "1" has the id 1, but 2 in training')


def test_numbers_of_annotations_are_ours_to_give(data):
    """pycocotools takes 0 for "no match"; files hold 0, the same number twice, words, or none."""
    before = read_coco(data).val.content

    def renumbered(content):
        for number, annotation in enumerate(content["annotations"]):
            annotation["id"] = (0, 0, "a", None, {"b": 1})[number % 5]
        del content["annotations"][-1]["id"]

    edit(data, renumbered, "val")
    found = read_coco(data).val.content
    assert found == before and [a["id"] for a in found["annotations"]] == list(range(1, len(found["annotations"]) + 1))


def test_a_perfect_detector_has_100_with_annotation_0_and_another_order_of_categories(data, tmp_path):
    """One image, one object: with pycocotools alone the number 0 makes its precision 0."""
    import logging

    from transfer.detection.evaluation.coco import average_precisions

    def single(content):
        content["categories"].reverse()
        content["annotations"] = [{**content["annotations"][0], "id": 0}]

    edit(data, single, "val")
    found = read_coco(data).prepared(tmp_path / "cleaned", write=True)
    assert found.classes == tuple("0123456789")  # by number, whatever the order in the file
    [answer] = json.loads(found.val.annotations.read_text())["annotations"]
    metrics = average_precisions(found.val.annotations, [{**answer, "score": 1.0}], logging.getLogger("test"))
    assert metrics["bbox"]["AP"] == metrics["segm"]["AP"] == pytest.approx(100)


def test_boxes_are_clipped_or_left_out_and_both_is_said(data):
    def changed(content):
        first, second, third = content["annotations"][:3]
        first.update(bbox=[-10, 60, 20, 30])
        second.update(bbox=[5, 5, 0, 9])
        third.update(bbox=[-0.5, 0, 65, 64.5])  # rounding

    before = read_coco(data)
    for split, count in (("train", "train_count"), ("val", "val_count")):
        edit(data, changed, split)
        found = read_coco(data)
        assert f"boxes of {split}2017: 1 clipped to the image, 1 left out, without area" in found.note
        assert getattr(found, count) == getattr(before, count)
        kept = getattr(found, split).content["annotations"]
        assert [a["bbox"] for a in kept[:2]] == [[0.0, 60, 10, 4.0], [-0.5, 0, 65, 64.5]]
        assert len(kept) == len(getattr(before, split).content["annotations"]) - 1


def test_narrow_boxes_are_a_pixel_wide_and_areas_of_0_those_of_their_boxes(data):
    """mmdet would leave both out, and learn that there is nothing; detectron2 and the evaluation would not."""

    def changed(content):
        first, second, third = content["annotations"][:3]
        first.update(bbox=[8.3, 5, 0.25, 9], area=2.25)
        second.update(bbox=[63.5, 5, 0.5, 9], area=0)
        third.update(bbox=[1, 2, 3, 4], area=0)

    edit(data, changed)
    found = read_coco(data)
    assert "2 widened to a pixel, 2 areas of 0 replaced by those of their boxes" in found.note
    kept = found.train.content["annotations"][:3]
    assert [a["bbox"] for a in kept] == [[8.3, 5, 1.0, 9], [63.0, 5, 1.0, 9], [1, 2, 3, 4]]
    assert [a["area"] for a in kept] == [2.25, 9.0, 12.0]


def test_polygons_without_area_are_left_out_beside_others(data):
    corners = [0.0, 0.0, 9.0, 0.0, 9.0, 9.0]
    edit(data, lambda c: c["annotations"][0].update(segmentation=[corners, [1.0, 2.0]]))
    found = read_coco(data)
    assert found.train.content["annotations"][0]["segmentation"] == [corners]
    assert "boxes of train2017: 1 polygons left out, without area" in found.note


def test_iscrowd_may_be_missing_or_a_truth_value(data):
    edit(data, lambda c: [c["annotations"][0].pop("iscrowd"), c["annotations"][1].update(iscrowd=True)])
    found = read_coco(data).train.content["annotations"]
    assert [a["iscrowd"] for a in found[:3]] == [0, 1, 0]


def test_without_any_mask_boxes_are_trained_on_and_it_is_said(data):
    for split in ("train", "val"):
        edit(data, lambda c: [a.pop("segmentation") for a in c["annotations"]], split)
    found = read_coco(data)
    assert not found.has_masks and "no masks in train2017 and val2017: Faster R-CNN, boxes alone" in found.note
    assert "segmentation" not in found.train.content["annotations"][0]


def test_masks_can_be_left_alone(data):
    found = read_coco(data, boxes_only=True)
    assert not found.has_masks and "no masks" not in found.note and found.hash != read_coco(data).hash
    edit(data, lambda c: [a.pop("segmentation") for a in c["annotations"]])
    refused(data, "instances_train2017.json has no masks, the other one has; expected both to, or --boxes-only")


def test_the_trainings_categories_decide_in_an_evaluation(data):
    categories = read_coco(data).categories
    used = {
        a["category_id"] for a in json.loads((data / "annotations/instances_val2017.json").read_text())["annotations"]
    }
    edit(data, lambda c: c.update(categories=[k for k in c["categories"] if k["id"] in used]), "val")
    found = read_coco(data, need_train=False, categories=json.loads(json.dumps(categories)))
    assert found.categories == categories and len(found.val.content["categories"]) == 10
    assert read_coco(data).categories == categories  # a training's validation may lack some
    with pytest.raises(UserError, match="was not trained on; the training knows 1: 0"):
        read_coco(data, need_train=False, categories=[[1, "0"]])


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".bmp"])
def test_images_may_have_any_suffix(data, suffix):
    for split in ("train", "val"):
        for path in (data / f"{split}2017").iterdir():
            path.rename(path.with_suffix(suffix))
        edit(data, lambda c: [i.update(file_name=i["file_name"].replace(".png", suffix)) for i in c["images"]], split)
    assert read_coco(data).train_count == 6


def test_missing_images_are_counted_and_the_first_is_named(data):
    (data / "val2017/000002.png").unlink()
    refused(data, "lacks 1 of 3 images, the first is 000002.png")
    shutil.rmtree(data / "val2017")
    refused(data, "no such folder: .*val2017")


def test_crowds_do_not_decide_the_mask_format(data):
    def polygons(content):
        for annotation in content["annotations"]:
            annotation["segmentation"] = [[0.0, 0.0, 9.0, 0.0, 9.0, 9.0]]
        content["annotations"][0].update(iscrowd=1, segmentation={"size": [64, 64], "counts": [0, 9, 4087]})

    edit(data, polygons)
    assert read_coco(data).mask_format == "polygon"


def test_detectron2_knows_the_data_only_inside_the_block(data):
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from transfer.detection.detectron2.dataset import registered

    before = set(DatasetCatalog.list())
    found = read_coco(data).prepared(data / "cleaned", write=True)
    with pytest.raises(RuntimeError, match="stop"), registered(found) as names:
        assert [len(DatasetCatalog.get(names[kind][0])) for kind in ("train", "val")] == [6, 3]
        assert MetadataCatalog.get(names["val"][0]).thing_classes == list("0123456789")
        raise RuntimeError("stop")
    assert set(DatasetCatalog.list()) == before and not any("scenes" in name for name in MetadataCatalog.list())


@pytest.mark.requires("data")
def test_real_coco_annotations_fit(real_data):
    data = read_coco(real_data / "coco_mini")
    assert (data.train.image_count, data.val.image_count, len(data.classes)) == (64, 32, 80)
    assert data.mask_format == "polygon" and data.classes[0] == "person"
