"""Recognition reads what pretraining reads, where there are labels."""

import shutil

import pytest

from pretrain.common.errors import UserError
from tests.pretrain.data.images import layouts
from tests.requirements import requires
from transfer.recognition.targets import load_splits


@pytest.mark.parametrize("layout", ["tars", pytest.param("parquet", marks=requires("images")), "listed"])
def test_shards_and_lists_of_both_splits(layout, tmp_path):
    folder = layouts.photographs(tmp_path / "folder")
    shutil.copytree(folder / "train", folder / "val")
    root = tmp_path / "root"
    if layout == "tars":
        layouts.tars(folder, root, shards=2)
        (root / "part-000.tar").rename(root / "set-train-000.tar")
        (root / "part-001.tar").rename(root / "set-val-000.tar")
    elif layout == "parquet":
        layouts.parquet(folder, root)
        shutil.copy(root / "data/train-00000-of-00001.parquet", root / "data/validation-00000-of-00001.parquet")
    else:
        layouts.listed(folder, root)
        rows = (root / "images.csv").read_text()
        shutil.rmtree(root / "val")
        (root / "train").rename(root / "all")
        header, *lines = rows.replace("train/", "all/").splitlines(keepends=True)
        for name in ("train.csv", "val.csv"):
            (root / name).write_text(header + "".join(line for line in lines if line.startswith("all/")))
    train, test = load_splits("folder", root, 32)
    assert len(train.classes) == 3 and train.classes == test.classes
    assert len(train) + len(test) == (24 if layout == "tars" else 48)
    assert train[0][0].shape == (3, 32, 40)


def test_images_without_labels_are_refused(tmp_path):
    folder = layouts.photographs(tmp_path / "folder")
    layouts.flat(folder, tmp_path / "flat")
    (tmp_path / "root").mkdir()
    for split in ("train", "val"):
        shutil.copytree(tmp_path / "flat", tmp_path / "root" / split)
    with pytest.raises(UserError, match="have no labels; expected a folder for each class"):
        load_splits("folder", tmp_path / "root", 32)
