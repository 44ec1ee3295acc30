"""Whatever way images lie, they are recognised, and what is no image is said or refused in one line."""

import gzip
import shutil
import tarfile

import pytest
import torch
from PIL import Image

from pretrain.common.errors import UserError
from pretrain.data.images.datasets import image_dataset
from pretrain.data.images.layout import has_split, images_at
from pretrain.data.images.packed import write_pack
from tests.pretrain.data.images import layouts
from tests.requirements import requires


@pytest.fixture
def folder(tmp_path):
    return layouts.photographs(tmp_path / "folder")


def same(found, expected) -> bool:
    pairs = zip((found[i] for i in range(len(found))), (expected[i] for i in range(len(expected))), strict=True)
    return all(torch.equal(a, b) and label == other for (a, label), (b, other) in pairs)


def test_class_folders_are_labels(folder):
    found = image_dataset("folder", folder)
    assert found.classes == ["class_0", "class_1", "class_2"] and found.labels.bincount().tolist() == [8] * 3
    assert found.found == "24 images in 3 folders"


@pytest.mark.parametrize("layout", ["packed", "tars", "listed", pytest.param("parquet", marks=requires("images"))])
def test_every_layout_gives_the_folders_images_labels_and_order(layout, folder, tmp_path):
    found = image_dataset("folder", layouts.LAYOUTS[layout](folder, tmp_path / "other"))
    assert len(found.classes) == 3 and same(found, image_dataset("folder", folder))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt"])
def test_lists_hold_paths_and_labels(suffix, folder, tmp_path):
    found = image_dataset("folder", layouts.listed(folder, tmp_path / "other", suffix))
    assert found.classes == ["class_0", "class_1", "class_2"] and same(found, image_dataset("folder", folder))


def test_a_list_of_paths_alone_has_no_labels(folder):
    (folder / "some.txt").write_text("train/class_1/3.png\n\ntrain/class_0/0.png\n")
    found = images_at(folder / "some.txt", "train")
    assert found.classes == [] and [found.names[i] for i in (0, 1)] == ["train/class_0/0.png", "train/class_1/3.png"]
    assert found.found == "2 images without labels in the list some.txt"


def test_lists_and_shards_are_found_by_the_name_of_the_split(folder, tmp_path):
    listed = layouts.listed(folder, tmp_path / "lists")
    listed.rename(listed.with_name("val.csv"))
    assert len(images_at(listed.parent, "test")) == 24
    layouts.tars(folder, tmp_path / "tars")
    (tmp_path / "tars" / "part-000.tar").rename(tmp_path / "tars" / "train-0.tar")
    (tmp_path / "tars" / "part-001.tar").rename(tmp_path / "tars" / "validation-0.tar")
    assert [len(images_at(tmp_path / "tars", split)) for split in ("train", "test")] == [12, 12]


def test_json_members_hold_labels_and_folders_do_without_them(folder, tmp_path):
    assert image_dataset("folder", layouts.tars(folder, tmp_path / "json", label="json")).classes[0] == "class_0"
    shutil.make_archive(str(tmp_path / "plain"), "tar", folder / "train")
    assert same(image_dataset("folder", tmp_path / "plain.tar"), image_dataset("folder", folder))
    assert image_dataset("folder", layouts.tars(folder, tmp_path / "none", label="")).classes == []


def test_a_sample_of_a_shard_has_one_image_and_other_fields(folder, tmp_path):
    """WebDataset: what follows the first dot is the field's name. Names with dots that stand alone are images."""
    content, label = (folder / "train/class_0/0.png").read_bytes(), {"0001.cls": b"3", "0002.cls": b"1", "a.cls": b"0"}
    images = ["0001.jpg", "0001.seg.png", "0001.depth.PNG", "0002.png", "a.2021.01.png", "deep/0001.seg.png"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, held in {**dict.fromkeys(images, content), **label, "deep/0001.cls": b"2"}.items():
            layouts.add_member(archive, name, held)
    found = image_dataset("folder", tmp_path / "a.tar")
    named = {found.names[i]: int(found.labels[i]) for i in range(len(found))}
    assert named == {"a.2021.01.png": 0, "0002.png": 1, "deep/0001.seg.png": 2, "0001.jpg": 3}
    assert "2 ignored: 1 .seg.png beside an image of the same sample, 1 .depth.PNG beside" in found.found


def test_a_mask_that_is_called_as_its_photograph_is_no_image_of_its_own(folder, tmp_path):
    content = (folder / "train/class_0/0.png").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("0.jpg", "0.png", "1.png", "1.JPEG", "2.png", "deep/2.png"):
            layouts.add_member(archive, name, content)
    found = image_dataset("folder", tmp_path / "a.tar")
    assert sorted(found.names[i] for i in range(len(found))) == ["0.jpg", "1.JPEG", "2.png", "deep/2.png"]
    assert "2 ignored: 2 .png beside an image of the same sample" in found.found


def test_a_list_beside_the_folder_of_its_split_is_said_to_be_left_out(folder):
    (folder / "train.csv").write_text("file,label\na.png,1\n")
    assert image_dataset("folder", folder).found.endswith("not read, beside it: train.csv")


def test_shards_that_tell_no_split_are_of_training(folder, tmp_path):
    content = (folder / "train/class_0/0.png").read_bytes()
    for name, count in (("train-0", 1), ("test-0", 2), ("unlabeled-0", 3), ("more-val-0", 4)):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            for number in range(count):
                layouts.add_member(archive, f"{number}.png", content)
    assert [len(image_dataset("folder", tmp_path, split)) for split in ("train", "test")] == [4, 6]


@pytest.mark.parametrize("name", ["train", "test", "val"])
def test_a_class_may_be_called_as_a_split(name, folder):
    """It lies beside other classes and holds images as they do; a folder with classes in it is a split all the same."""
    root = folder / "train"
    (root / "class_1").rename(root / name)
    found = image_dataset("folder", root)
    assert found.classes == ["class_0", "class_2", name] and len(found) == 24
    assert found.found == f"24 images in 3 folders; a class as the folders beside it, no split: {name}"
    assert images_at(root, "test") is None and not has_split(root, "test")
    shutil.copytree(root / "class_0", folder / "more")
    assert image_dataset("folder", folder).found.endswith("in 3 folders; not read, beside it: more")


def test_two_splits_are_splits_whatever_lies_beside_them(folder, tmp_path):
    for name in ("train", "val", "more"):
        shutil.copytree(folder / "train/class_0", tmp_path / "both" / name)
    assert image_dataset("folder", tmp_path / "both").found == "8 images without labels; not read, beside it: more"
    assert len(image_dataset("folder", tmp_path / "both", "test")) == 8


def test_flat_and_nested_folders_are_images_without_labels(folder, tmp_path):
    flat = image_dataset("folder", layouts.flat(folder, tmp_path / "flat"))
    assert (len(flat), flat.classes, flat.found) == (24, [], "24 images without labels")
    (tmp_path / "flat" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "flat" / "class_0_0.png").rename(tmp_path / "flat" / "deep" / "er" / "x.PNG")
    assert len(image_dataset("folder", tmp_path / "flat")) == 24
    with pytest.raises(UserError, match="needs labels"):
        image_dataset("folder", tmp_path / "flat", images_per_class=2)


def test_several_roots_are_one_data_set(folder, tmp_path):
    other = layouts.photographs(tmp_path / "more", classes=4, each=2)
    both = image_dataset("folder", [folder, other])
    assert len(both) == 32 and both.classes == [f"class_{c}" for c in range(4)]
    assert both.name(24) == str(other / "train/class_0/0.png") and both[31][1] == 3
    assert same(image_dataset("folder", (folder,)), image_dataset("folder", folder))


def test_numbers_of_several_roots_stay_what_they_are_as_those_of_one(folder, tmp_path):
    paths = sorted(folder.rglob("*.png"))[:12]
    for name, numbers in {"a": range(12), "b": range(3)}.items():
        shutil.copytree(folder, tmp_path / name)
        rows = "".join(f"{paths[n].relative_to(folder)},{n}\n" for n in numbers)
        (tmp_path / name / "some.csv").write_text(f"path,label\n{rows}")
    a, b = (tmp_path / name / "some.csv" for name in "ab")
    one, both = (image_dataset("folder", root) for root in (a, [a, b]))
    assert both.classes == one.classes and both.labels.tolist() == [*range(12), *range(3)]


def test_rubbish_is_no_image_and_no_class(folder):
    for name in ("__MACOSX", ".ipynb_checkpoints", ".hidden"):
        shutil.copytree(folder / "train" / "class_0", folder / "train" / name)
    for name in ("Thumbs.db", "notes.txt", "more.TXT", ".x.png", "._x.jpg"):
        (folder / "train" / "class_1" / name).write_bytes(b"x")
    (folder / "train" / "nothing").mkdir()
    found = image_dataset("folder", folder)
    assert found.classes == ["class_0", "class_1", "class_2"]
    assert found.found == "24 images in 3 folders; 1 without images: nothing; 8 ignored: 6 hidden, 2 .txt"


def test_suffixes_are_pillows_in_any_case(folder):
    image = Image.new("RGB", (8, 8))
    for name, kind in (("a.JFIF", "JPEG"), ("b.gif", "GIF"), ("c.WebP", "WEBP"), ("d.tif", "TIFF"), ("e.ppm", "PPM")):
        image.save(folder / "train" / "class_0" / name, kind)
    assert len(image_dataset("folder", folder)) == 29


def test_links_are_followed_once_and_loops_are_refused(folder, tmp_path):
    outside = layouts.photographs(tmp_path / "outside", classes=1)
    (folder / "train" / "linked").symlink_to(outside / "train" / "class_0")
    (folder / "train" / "again").symlink_to(folder / "train" / "class_0")
    (folder / "train" / "class_0" / "gone.png").symlink_to("nowhere.png")
    found = image_dataset("folder", folder)
    assert found.classes == ["class_0", "class_1", "class_2", "linked"] and len(found) == 32
    assert found.found.endswith("1 links to what is there already, 1 broken links")
    (folder / "train" / "class_1" / "up").symlink_to(folder / "train")
    with pytest.raises(UserError, match=r"the link .*class_1/up leads back to .*train: a loop"):
        image_dataset("folder", folder)


def test_a_folder_behind_several_links_is_read_once(folder, tmp_path):
    outside = layouts.photographs(tmp_path / "outside", classes=2)
    (folder / "train" / "linked").symlink_to(outside / "train" / "class_0")
    (folder / "train" / "more").symlink_to(outside / "train")
    found = image_dataset("folder", folder)
    assert found.labels.bincount().tolist() == [8] * 5 and found.classes[3:] == ["linked", "more"]


def test_a_link_to_a_hidden_folder_is_a_class_and_one_to_itself_is_none(folder):
    (folder / "train" / "class_1").rename(folder / "train" / ".store")
    (folder / "train" / "class_1").symlink_to(".store")
    (folder / "train" / "itself").symlink_to("itself")
    assert image_dataset("folder", folder).labels.bincount().tolist() == [8] * 3


def test_folders_of_numbers_are_the_same_classes_in_tar_files(folder, tmp_path):
    for number, name in enumerate(("1", "10", "2")):
        (folder / "train" / f"class_{number}").rename(folder / "train" / name)
    shutil.make_archive(str(tmp_path / "images"), "tar", folder / "train")
    found, expected = image_dataset("folder", tmp_path / "images.tar"), image_dataset("folder", folder)
    assert found.classes == expected.classes == ["1", "10", "2"] and same(found, expected)


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_of_tar_files(kind, folder, tmp_path):
    name = f"{'é' * 60}/{'x' * 150}.png"
    with tarfile.open(tmp_path / "a.tar", "w", format=kind) as archive:
        archive.add(folder / "train" / "class_0" / "0.png", f"b/{name}")
        archive.add(folder / "train" / "class_0" / "1.png", f"a/{name}")
    found = image_dataset("folder", tmp_path / "a.tar")
    assert [found.names[i] for i in range(2)] == [f"a/{name}", f"b/{name}"] and found.classes == ["a", "b"]


LABELLED = [("train/class_0/0.png", "2"), ("train/class_1/1.png", "10"), ("train/class_2/2.png", "1")]


@pytest.mark.parametrize(
    ("name", "begin", "between", "end", "encoding"),
    [
        ("windows.txt", "", " ", "\r\n", "utf-8"),
        ("tabs.lst", "", "\t", "\n", "utf-8"),
        ("spreadsheet.csv", "path,label\r\n", ",", "\r\n", "utf-8-sig"),
        ("spaces.csv", "path, label\n", " , ", " \n", "utf-8"),
        ("powershell.txt", "", " ", "\r\n", "utf-16"),
    ],
)
def test_lists_as_other_programs_write_them(name, begin, between, end, encoding, folder):
    text = begin + "".join(f"{path}{between}{label}{end}" for path, label in LABELLED)
    (folder / name).write_bytes(text.encode(encoding))
    found = images_at(folder / name, "train")
    assert sorted((found.names[i], found.classes[found.labels[i]]) for i in range(3)) == LABELLED


@pytest.mark.parametrize("between", ["\t", " ", "   "])
def test_names_and_labels_of_a_list_may_be_of_several_words(between, folder):
    lines = {"my photo.png": "golden retriever", "a.b c.png": "cat", "x.png": "0"}
    for name in lines:
        shutil.copy(folder / "train/class_0/0.png", folder / name)
    (folder / "some.txt").write_text("".join(f"{name}{between}{label}\n" for name, label in lines.items()))
    found = images_at(folder / "some.txt", "train")
    assert {found.names[i]: found.classes[found.labels[i]] for i in range(len(found))} == lines


def test_a_pack_says_what_lies_beside_it_unread(folder):
    write_pack(images_at(folder, "train"), folder, "train")
    assert images_at(folder, "train").found == "24 images of 3 classes, packed; not read, beside it: train"


def test_samples_of_a_shard_whose_names_have_dots_keep_their_own_labels(folder, tmp_path):
    content = (folder / "train/class_0/0.png").read_bytes()

    def shard(members: dict[str, bytes]) -> dict[str, int]:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tar"
        with tarfile.open(path, "w") as archive:
            for name, held in members.items():
                layouts.add_member(archive, name, held)
        found = image_dataset("folder", path)
        return {found.names[i]: int(found.labels[i]) for i in range(len(found))}

    images = {"img.0.png": content, "img.1.png": content}
    assert shard({**images, "img.0.cls": b"3", "img.1.cls": b"5"}) == {"img.0.png": 3, "img.1.png": 5}
    assert shard({**images, "img.cls": b"4"}) == dict.fromkeys(images, 4)
    assert shard({"a.png": content, "a.meta.json": b'{"label": 2}'}) == {"a.png": 2}
    assert shard({"a.png": content, "a.cls": b"3", "a.json": b'{"label": 2}'}) == {"a.png": 3}
    assert shard({"a.png": content, "a.cls": b"3", "a.json": b"{}"}) == {"a.png": 3}
    with pytest.raises(UserError, match="the sample img has the labels 3, 5; expected one"):
        shard({**images, "img.a.cls": b"3", "img.b.cls": b"5"})


def test_labels_too_large_to_be_numbers_are_names(folder):
    (folder / "a.csv").write_text(f"path,label\n{LABELLED[0][0]},{'9' * 5000}\n{LABELLED[1][0]},1\n")
    assert images_at(folder / "a.csv", "train").classes == ["1", "9" * 5000]


@requires("images")
@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (["b", "a"], [1, 0], [("a", 0), ("b", 1)]),
        (["b", "b"], [1, 0], [("b", 1), ("b", 0)]),  # not to be told apart: the order of the rows
        (["b", None], [1, 0], [("b", 1), ("row 0 of group 1", 0)]),
        (["b", "a"], [1, None], [("a", 0), ("b", 0)]),
    ],
)
def test_rows_of_parquet_are_in_the_order_of_folders_where_names_and_labels_tell_it(names, labels, expected, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [{"bytes": b"x", "path": name} for name in names]
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "a.parquet", row_group_size=1)
    found = image_dataset("folder", tmp_path / "a.parquet")
    assert [(found.names[i], int(found.labels[i])) for i in range(2)] == expected


@requires("images")
def test_labels_of_parquet_too_large_to_be_numbers_are_names(folder, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = (folder / LABELLED[0][0]).read_bytes()
    pq.write_table(pa.table({"image": [content] * 2, "label": [10**12, 7]}), tmp_path / "a.parquet")
    found = image_dataset("folder", tmp_path / "a.parquet")
    assert found.classes == ["1000000000000", "7"] and found.labels.tolist() == [0, 1]


def no_images(root):
    root.mkdir()


def videos(root):
    root.mkdir()
    for name in ("a.mp4", "b.mp4", "c.avi"):
        (root / name).write_bytes(b"x")


def missing_files(root):
    root.mkdir()
    (root / "train.txt").write_text("a.jpg\nb.jpg\n")


def leaving(root):
    root.mkdir()
    (root / "train.txt").write_text("../a.jpg\n")


def table_without_paths(root):
    root.mkdir()
    (root / "train.csv").write_text("name,size\na.jpg,3\n")


def tar_without_images(root):
    root.mkdir()
    (root / "text.md").write_text("x")
    shutil.make_archive(str(root / "a"), "tar", root, "text.md")


def cut_tar(root, share=0.6):
    folder = layouts.photographs(root.with_name("source"))
    layouts.tars(folder, root, shards=1)
    content = (root / "part-000.tar").read_bytes()
    (root / "part-000.tar").write_bytes(content[: int(len(content) * share)])


def tar_without_an_end(root):
    folder = layouts.photographs(root.with_name("source"), each=2)
    layouts.tars(folder, root, shards=1)
    content = (root / "part-000.tar").read_bytes().rstrip(b"\0")
    (root / "part-000.tar").write_bytes(content.ljust(-(-len(content) // 512) * 512, b"\0"))


def tar_in_tar(root):
    """One after the other, of which readers see the first."""
    layouts.tars(layouts.photographs(root.with_name("source")), root)
    content = b"".join(path.read_bytes() for path in sorted(root.iterdir()))
    (root / "part-000.tar").write_bytes(content)


def tar_of_less_than_nothing(root):
    """A member whose length is below 0, at which readers turn back for ever."""
    root.mkdir()
    header = bytearray(tarfile.TarInfo("0.png").tobuf())
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (root / "a.tar").write_bytes(bytes(header) + bytes(1024))


def compressed_tar(root):
    layouts.tars(layouts.photographs(root.with_name("source")), root, shards=1)
    content = (root / "part-000.tar").read_bytes()
    (root / "part-000.tar").write_bytes(gzip.compress(content))


def suffixes_of_several_lines(root):
    root.mkdir()
    (root / "a.x\ny").write_bytes(b"x")


def name_too_long(root):
    root.mkdir()
    (root / "train.txt").write_text("a" * 5000 + ".png\n")


def no_tar(root):
    root.mkdir()
    (root / "a.tar").write_bytes(b"nothing of the kind" * 100)


def two_kinds(root):
    no_tar(root)
    (root / "a.parquet").write_bytes(b"")


def archive(root):
    root.with_name("root").write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_images, "no 'train' folder in .* and no images below"),
        (videos, r"no images below .*: 3 ignored: 2 \.mp4, 1 \.avi; expected images"),
        (missing_files, "names 2 files that do not exist, first a.jpg"),
        (leaving, r"names \.\./a\.jpg, which leaves its folder"),
        (table_without_paths, "has no column of paths"),
        (tar_without_images, r"no images in .*a\.tar: 1 ignored: 1 \.md"),
        (cut_tar, "is cut short"),
        (tar_without_an_end, "is cut short"),
        (tar_in_tar, "goes on after its end"),
        (tar_of_less_than_nothing, r"is cut short within 0\.png"),
        (compressed_tar, "expected a tar file that is not compressed"),
        (suffixes_of_several_lines, r"1 ignored: 1 \.x y;"),
        (name_too_long, "names 1 file that does not exist, first aaa"),
        (no_tar, "cannot read .*a.tar"),
        (two_kinds, "holds .parquet and .tar files"),
        (archive, "is no data set"),
    ],
)
def test_what_cannot_be_is_one_line(make, message, tmp_path):
    make(tmp_path / "root")
    with pytest.raises(UserError, match=message) as error:
        image_dataset("folder", tmp_path / "root")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.95])
def test_a_tar_is_refused_wherever_it_was_cut(share, tmp_path):
    cut_tar(tmp_path / "root", share)
    with pytest.raises(UserError, match="cut short|cannot read"):
        image_dataset("folder", tmp_path / "root")


@requires("images")
def test_parquet_without_images_or_cut_short_is_one_line(folder, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="a.parquet: no column of images .* among: text, label"):
        image_dataset("folder", tmp_path / "a.parquet")
    pq.write_table(pa.table({"small": [b"a"], "large": [b"b"]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b.parquet: several columns of bytes: small, large; expected one"):
        image_dataset("folder", tmp_path / "b.parquet")
    pq.write_table(pa.table({"images": [[{"bytes": b"a", "path": "a.png"}]]}), tmp_path / "c.parquet")
    with pytest.raises(UserError, match=r"c.parquet: no column of images .* among: images"):
        image_dataset("folder", tmp_path / "c.parquet")
    [file] = (layouts.parquet(folder, tmp_path / "cut") / "data").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="expected a whole parquet file"):
        image_dataset("folder", tmp_path / "cut")
