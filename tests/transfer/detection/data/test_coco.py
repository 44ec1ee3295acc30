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


@pytest.mark.parametrize("field", ["segmentation", "bbox", "category_id", "image_id", "id", "area"])
def test_each_annotation_must_have_boxes_masks_and_ids(data, field):
    edit(data, lambda content: content["annotations"][2].pop(field))
    refused(data, f"has no '{field}'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][1].update(segmentation=[]), "annotation 2 has no 'segmentation'"),
        (lambda c: c["annotations"][1].update(category_id=99), "annotation 2 has an undefined category_id, 99"),
        (lambda c: c["annotations"][1].update(image_id=-1), "annotation 2 has an undefined image_id, -1"),
        (lambda c: c["annotations"][1].update(bbox=[1, 2, 3]), "annotation 2 has a wrong bbox"),
        (lambda c: c["annotations"][1].update(id=1), "annotation id 1 occurs twice"),
        (lambda c: c["images"][0].pop("height"), "an entry of 'images' has no 'height'"),
        (lambda c: c["categories"].pop(), "undefined category_id|different categories"),
        (lambda c: c["categories"][0].update(name="zero"), "have different categories"),
    ],
)
def test_what_does_not_fit_together_is_named(data, change, message):
    edit(data, change)
    refused(data, message)


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

    from transfer.detection.detectron2.registration import registered

    before = set(DatasetCatalog.list())
    with pytest.raises(RuntimeError, match="stop"), registered(read_coco(data)) as names:
        assert [len(DatasetCatalog.get(names[kind][0])) for kind in ("train", "val")] == [6, 3]
        assert MetadataCatalog.get(names["val"][0]).thing_classes == list("0123456789")
        raise RuntimeError("stop")
    assert set(DatasetCatalog.list()) == before and not any("scenes" in name for name in MetadataCatalog.list())


@pytest.mark.requires("data")
def test_real_coco_annotations_fit(real_data):
    data = read_coco(real_data / "coco_mini")
    assert (data.train.image_count, data.val.image_count, len(data.classes)) == (64, 32, 80)
    assert data.mask_format == "polygon" and data.classes[0] == "person"
