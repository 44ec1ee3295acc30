"""Annotation files of all kinds: accepted, and then usable, or refused in one line that names the file."""

import copy
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pretrain.common.errors import UserError
from tests.requirements import requires
from tests.transfer.detection.data.voc import TWO_YEARS, WHOLE, write_voc
from transfer.detection.data.coco import TRAIN, VAL
from transfer.detection.data.coco import read as read_coco
from transfer.detection.data.voc import read as read_voc

SIDE = 32
CONTENT = {
    "images": [{"id": i, "file_name": f"{i}.png", "width": SIDE, "height": SIDE} for i in (1, 2)],
    "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 9, 8], "area": 72, "iscrowd": 0,
         "segmentation": [[2, 3, 11, 3, 11, 11, 2, 11]]},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0,
         "segmentation": {"size": [SIDE, SIDE], "counts": [0, 4, 1020]}},
        {"id": 3, "image_id": 2, "category_id": 2, "bbox": [0, 0, 8, 4], "area": 32, "iscrowd": 1,
         "segmentation": {"size": [SIDE, SIDE], "counts": "04ln0"}},
    ],
}  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, SIDE + 3), st.floats(-3, SIDE + 3), st.integers(), st.floats(),
    st.sampled_from([0, 1, 2**31, 2**63, -1, 1e308, 1e-308]),
)  # fmt: skip
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5), st.sampled_from(["a", "1.png", "../1.png"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=8), st.dictionaries(st.sampled_from(["size", "counts", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def paths(value, here=()):
    """Every place in a JSON value."""
    if here:
        yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*here, key))


@st.composite
def contents(draw):
    """An annotation file with one to three places changed, taken away or doubled."""
    content = copy.deepcopy(CONTENT)
    for _ in range(draw(st.integers(1, 3))):
        *where, last = draw(st.sampled_from(sorted(paths(content), key=str)))
        section = content
        for key in where:
            section = section[key]
        match draw(st.sampled_from(["change", "change", "remove", "double"])):
            case "change":
                section[last] = draw(VALUES)
            case "remove":
                del section[last]
            case "double" if isinstance(section, list):
                section.append(copy.deepcopy(section[last]))
        if not any(paths(content)):
            break
    return content


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    folder = tmp_path_factory.mktemp("properties") / "coco"
    (folder / "annotations").mkdir(parents=True)
    for split in (TRAIN, VAL):
        (folder / split).mkdir()
        for image in CONTENT["images"]:
            Image.new("RGB", (SIDE, SIDE)).save(folder / split / image["file_name"])
    return folder


def write(folder, split, text):
    path = folder / f"annotations/instances_{split}.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))


def one_line(error, folder):
    return "\n" not in str(error) and str(folder) in str(error) and len(str(error)) < 2000


@requires("detection")
@given(content=contents())
def test_a_coco_file_is_refused_by_name_or_can_be_evaluated_and_trained_on(content, coco, tmp_path_factory):
    from detectron2.data.datasets.coco import load_coco_json

    from transfer.detection.evaluation.coco import average_precisions

    write(coco, TRAIN, json.dumps(content))
    write(coco, VAL, json.dumps(content))
    try:
        found = read_coco(coco)
    except UserError as error:
        assert one_line(error, coco)
        return
    found = found.prepared(tmp_path_factory.mktemp("cleaned"), write=True)
    cleaned = json.loads(found.val.annotations.read_text())
    perfect = [{**a, "score": 1.0} for a in cleaned["annotations"] if not a["iscrowd"]]
    for answer in perfect:  # detections have run lengths
        answer.pop("segmentation", None)
    metrics = average_precisions(found.val.annotations, perfect, logging.getLogger("test"), masks=False)
    # a detection that a crowd hides, or of a box of no area in fp32, is no match; everything else is found
    assert metrics["bbox"]["AP"] > 0
    records = load_coco_json(str(found.train.annotations), str(found.train.images))
    assert len(records) == len(cleaned["images"])
    for record in records:
        for annotation in record["annotations"]:
            assert 0 <= annotation["category_id"] < len(found.classes)
            assert annotation["bbox"][2] > 0 and annotation["bbox"][3] > 0


@given(text=st.one_of(st.binary(max_size=40), VALUES.map(json.dumps), st.just("[" * 100_000), st.just("")))
def test_a_file_of_anything_is_no_coco_file(text, coco):
    write(coco, VAL, text)
    with pytest.raises(UserError) as error:
        read_coco(coco, need_train=False)
    assert one_line(error.value, coco)


@st.composite
def documents(draw, text):
    """An XML document in which some texts or tags are changed, or a part is cut out."""
    for _ in range(draw(st.integers(1, 3))):
        match draw(st.sampled_from(["value", "value", "tag", "cut"])):
            case "value":
                places = [i for i in range(len(text)) if text[i - 1 : i] == ">" and text[i : i + 1] not in ("<", "")]
                if places:
                    start = draw(st.sampled_from(places))
                    end = text.find("<", start) if "<" in text[start:] else len(text)
                    value = draw(st.one_of(NUMBERS.map(str), st.sampled_from(["", "true", "Unspecified", "nan", "x"])))
                    text = text[:start] + value + text[end:]
            case "tag":
                tag = draw(st.sampled_from(["difficult", "name", "bndbox", "xmin", "size", "object", "width"]))
                text = text.replace(
                    f"<{tag}>", draw(st.sampled_from([f"<{tag}s>", f"<{tag}/><{tag}>", f"<{tag}/>"])), 1
                )
            case "cut":
                start = draw(st.integers(0, max(0, len(text) - 1)))
                text = text[:start] + text[start + draw(st.integers(0, 40)) :]
    return text


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    return write_voc(tmp_path_factory.mktemp("properties") / "voc", TWO_YEARS, WHOLE)


@given(data=st.data())
def test_a_voc_file_is_refused_by_name_or_can_be_used(data, voc):
    path = voc / "VOC2007/Annotations/000003.xml"
    original = path.read_text()
    try:
        path.write_text(data.draw(documents(original)), encoding="utf-8")
        found = read_voc(voc)
    except UserError as error:
        assert one_line(error, voc)
        return
    finally:
        path.write_text(original)
    for image in found.val.images:
        for thing in image.objects:
            xmin, ymin, xmax, ymax = thing.box
            assert thing.name in found.classes and xmin - 1 < xmax and ymin - 1 < ymax
            assert xmin >= 0 and ymin >= 0 and xmax <= image.width + 1 and ymax <= image.height + 1


@given(text=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda s: s.encode(errors="replace"))))
def test_a_list_or_an_annotation_of_anything_is_no_voc_file(text, voc):
    for path in (voc / "VOC2007/ImageSets/Main/test.txt", voc / "VOC2007/Annotations/000003.xml"):
        original = path.read_bytes()
        try:
            path.write_bytes(text)
            with pytest.raises(UserError) as error:
                read_voc(voc)
            assert one_line(error.value, voc)
        finally:
            path.write_bytes(original)
