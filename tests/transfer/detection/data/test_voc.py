"""VOC's layout: found where its users have it, read leniently, refused by one line where it does not fit."""

import shutil

import pytest

from pretrain.common.errors import UserError
from tests.requirements import requires
from tests.transfer.detection.data.voc import TWO_YEARS, WHOLE, write_voc
from transfer.detection.data.voc import CLASSES, find_voc
from transfer.detection.data.voc import read as read_voc


@pytest.fixture
def data(tmp_path):
    return write_voc(tmp_path / "photos", TWO_YEARS, WHOLE)


def refused(data, message):
    with pytest.raises(UserError, match=message) as error:
        read_voc(data)
    assert "\n" not in str(error.value)


def edit(data, before, after, image="000001"):
    path = data / f"VOC2007/Annotations/{image}.xml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def test_the_years_may_lie_in_the_folder_or_in_its_vocdevkit(data, tmp_path, monkeypatch):
    assert find_voc(data) == (data, "photos") and find_voc(data / "VOC2007") == (data, "voc")
    (tmp_path / "datasets").mkdir()
    data.rename(tmp_path / "datasets/VOCdevkit")
    kit = tmp_path / "datasets/VOCdevkit"
    assert find_voc(tmp_path / "datasets") == (kit, "voc") == find_voc(kit)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert find_voc(None)[0].resolve() == kit
    monkeypatch.setenv("DETECTRON2_DATASETS", str(kit))
    assert find_voc(None) == (kit, "voc")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere holds no VOC data: expected VOC2007.*give --data"):
        find_voc(None)


def test_trainval_of_both_years_is_trained_on_and_test_of_2007_evaluated(data):
    found = read_voc(data)
    assert [[image.name for image in split.images] for split in found.train] == [["000001", "000002"], ["2008_000001"]]
    assert (found.train_count, found.val_count, found.classes, found.note) == (3, 1, CLASSES, "")
    [image] = found.val.images
    assert (image.width, image.height, image.file) == (64, 64, data / "VOC2007/JPEGImages/000003.jpg")
    assert [(o.name, o.box, o.difficult) for o in image.objects] == [
        ("cat", (5, 5, 20, 20), False), ("dog", (30, 30, 64, 64), True),
    ]  # fmt: skip
    assert found.object_areas == (16 * 16,)  # what is difficult is not scored
    assert read_voc(data, need_train=False).train == ()


def test_without_2012_the_line_says_so(data):
    shutil.rmtree(data / "VOC2012")
    found = read_voc(data)
    assert found.train_count == 2 and "has no VOC2012" in found.note


def test_other_classes_are_read_off_the_annotations(tmp_path):
    box = (1, 1, 9, 9)
    images = {
        "VOC2007/trainval": {"a": [("zebra", box, False), ("ant", box, False)]},
        "VOC2007/test": {"b": [("ant", box, False)]},
    }
    assert read_voc(write_voc(tmp_path, images)).classes == ("ant", "zebra")


@pytest.mark.parametrize("train", ["zebra", "cat"])
def test_a_class_of_the_test_images_alone_is_refused(train, tmp_path):
    """A typo (Cat) would be a class that nothing teaches, and would count as 0 in every mean."""
    names = {"VOC2007/trainval": train, "VOC2007/test": "Cat"}
    images = {place: {name: [(name, (1, 1, 9, 9), False)]} for place, name in names.items()}
    with pytest.raises(UserError, match="objects of the class 'Cat', which was not trained on"):
        read_voc(write_voc(tmp_path, images))


def test_pose_truncated_and_difficult_may_be_missing_and_corners_be_fractions(tmp_path):
    images = {name: {"1": [("dog", (1.5, 1, 9.25, 9), False)]} for name in ("VOC2007/trainval", "VOC2007/test")}
    [image] = read_voc(write_voc(tmp_path, images)).val.images
    assert image.objects[0].box == (1.5, 1, 9.25, 9) and not image.objects[0].difficult


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("<name>dog</name>", "", "000001.xml: an object has no name"),
        ("<xmax>30</xmax>", "", "000001.xml has no number in 'bndbox/xmax'; found None"),
        ("<xmax>30</xmax>", "<xmax>wide</xmax>", "has no number in 'bndbox/xmax'; found 'wide'"),
        ("<xmax>30</xmax>", "<xmax>0</xmax>", "the box 1, 1, 0, 40 of a dog has a negative size"),
        ("<ymin>1</ymin>", "<ymin>70</ymin>", "the box 1, 70, 30, 40 of a dog"),
        ("<width>64</width>", "", "000001.xml has no number in 'size/width'"),
        ("</annotation>", "", "000001.xml is no valid XML"),
        ("<object>", "<objects>", "000001.xml is no valid XML"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_named(data, before, after, message):
    edit(data, before, after)
    refused(data, message)


@pytest.mark.parametrize(
    ("text", "difficult"),
    [("1", True), ("0", False), ("", False), ("true", True), ("True", True), ("false", False), (" 1 ", True)],
)
def test_difficult_is_said_in_several_ways(data, text, difficult):
    edit(data, "<difficult>1</difficult>", f"<difficult>{text}</difficult>", "000003")
    assert read_voc(data).val.images[0].objects[1].difficult is difficult
    edit(data, f"<difficult>{text}</difficult>", "<difficult/>", "000003")  # labelme's
    assert not read_voc(data).val.images[0].objects[1].difficult


def test_another_word_for_difficult_is_refused(data):
    edit(data, "<difficult>1</difficult>", "<difficult>perhaps</difficult>", "000003")
    refused(data, "000003.xml: a dog is marked difficult by 'perhaps'; expected 0 or 1")


@pytest.mark.parametrize(("year", "image"), [("VOC2007 trainval", "000001"), ("VOC2007 test", "000003")])
def test_boxes_are_clipped_and_it_is_said(data, year, image):
    before = {"000001": ("<xmax>30</xmax>", (1, 1, 64, 40)), "000003": ("<xmax>20</xmax>", (5, 5, 64, 20))}[image]
    edit(data, before[0], "<xmax>90</xmax>", image)
    found = read_voc(data)
    assert f"boxes of {year}: 1 clipped to the image" in found.note
    images = [i for split in (*found.train, found.val) for i in split.images if i.name == image]
    assert images[0].objects[0].box == before[1]
    edit(data, "<xmax>90</xmax>", "<xmax>65</xmax>", image)  # rounding
    assert "clipped" not in read_voc(data).note


def test_a_name_listed_twice_is_refused(data):
    path = data / "VOC2007/ImageSets/Main/trainval.txt"
    path.write_text("000001\n000002\n000001\n")
    refused(data, "trainval.txt lists 000001 twice")
    path.write_text("../Annotations/000001\n")
    refused(data, "which is no file's name")
    path.write_bytes(b"\xff\xfe\x00\x01")
    refused(data, "trainval.txt is no text")


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg"])
def test_images_may_have_any_suffix(data, suffix):
    for path in data.rglob("*.jpg"):
        path.rename(path.with_suffix(suffix))
    assert read_voc(data).val.images[0].file.name == f"000003{suffix}"


def test_the_trainings_classes_decide_in_an_evaluation(data):
    found = read_voc(data, need_train=False, categories=["zebra", "cat", "dog"])
    assert found.classes == ("zebra", "cat", "dog")
    with pytest.raises(
        UserError, match="objects of the class 'dog', which was not trained on; the training knows 1: c"
    ):
        read_voc(data, need_train=False, categories=["cat"])


def test_missing_pieces_are_named(data, tmp_path):
    refused(tmp_path / "nowhere", "nowhere holds no VOC data")
    (data / "VOC2007/Annotations/000002.xml").unlink()
    refused(data, "no such file: .*000002.xml")
    (data / "VOC2007/JPEGImages/000002.jpg").unlink()
    refused(data, "JPEGImages lacks 1 of 2 images of trainval.txt, the first is 000002.jpg")
    (data / "VOC2007/ImageSets/Main/trainval.txt").write_text("\n")
    refused(data, "trainval.txt is empty")
    (data / "VOC2007/ImageSets/Main/test.txt").unlink()
    refused(data, "no such file: .*test.txt")


def test_a_training_needs_objects(tmp_path):
    write_voc(tmp_path, {"VOC2007/trainval": {"1": []}, "VOC2007/test": {"2": []}})
    refused(tmp_path, "has no objects in its trainval images")


@requires("detection")
def test_detectron2_gets_the_boxes_that_it_would_read_itself(data):
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.data.datasets.pascal_voc import load_voc_instances

    from transfer.detection.detectron2.dataset import registered

    with registered(read_voc(data)) as names:
        ours = DatasetCatalog.get(names["train"][0])
        assert MetadataCatalog.get(names["val"][0]).thing_classes == list(CLASSES) and len(names["train"]) == 2
    theirs = load_voc_instances(str(data / "VOC2007"), "trainval", CLASSES)
    assert [{**record, "image_id": str(record["image_id"])} for record in theirs] == ours


@requires("data")
def test_real_photographs_fit(real_data):
    found = read_voc(real_data / "voc_mini")
    assert (found.name, found.train_count, found.val_count, found.classes) == ("voc_mini", 47, 18, CLASSES)
