"""tools/pack.py: every split, its own work recognised, mistakes in one line."""

import numpy as np
import pytest
import torch
from PIL import Image

from pretrain.common.errors import UserError
from pretrain.data.images.datasets import image_dataset
from tests.pretrain.data.images import layouts
from tests.programs import tool


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "val"):
        for name in ("ant", "cat"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 9), (len(split), len(name), 0)).save(tmp_path / "images" / split / name / "x.png")
    return tmp_path / "images"


def test_both_splits_are_packed_once_and_found_again(folder, tmp_path):
    done = tool("pack", folder, tmp_path / "pack")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "pack")
    for split in ("train", "test"):
        ours, plain = (image_dataset("folder", root, split) for root in (tmp_path / "pack", folder))
        assert len(ours) == 2 and all(torch.equal(ours[i][0], plain[i][0]) for i in range(2))
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "pack").iterdir()}
    assert len(written) == 4
    (tmp_path / "pack" / "test.index.npz").unlink()  # as if the first run had been killed before its end
    again = tool("pack", folder, tmp_path / "pack")
    assert again.returncode == 0 and "train: " in again.stdout and "is there already" in again.stdout
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "pack").iterdir()}
    assert now.keys() == written.keys()
    assert [name for name in now if now[name] != written[name]] and now["train.pack"] == written["train.pack"]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: root.rename(root.with_name("elsewhere")), "no such folder"),
        (lambda root: [path.rename(path.with_suffix(".mp4")) for path in root.rglob("*.png")], "ignored: "),
        (lambda root: [path.unlink() for path in root.rglob("train/*/*.png")], "no images below"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(folder, tmp_path, prepare, message):
    prepare(folder)
    done = tool("pack", folder, tmp_path / "pack")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and message in done.stderr


def test_other_images_are_not_overwritten(folder, tmp_path):
    assert tool("pack", folder, tmp_path / "pack").returncode == 0
    Image.new("RGB", (8, 9)).save(folder / "train" / "ant" / "y.png")
    done = tool("pack", folder, tmp_path / "pack")
    assert done.returncode == 2 and "holds other images than" in done.stderr


def test_a_pack_does_not_hide_the_images_that_it_is_made_of(folder):
    done = tool("pack", folder, folder)
    assert done.returncode == 2 and "OUTPUT is ROOT" in done.stderr and not list(folder.glob("*.pack"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "-1"], "--workers -1 is too small; expected 0 or more"),
        (["--image-size", "0"], "--image-size 0 is too small; expected 1 or more"),
    ],
)
def test_numbers_that_make_no_sense_are_one_line(folder, options, message):
    done = tool("pack", folder, "--check", *options)
    assert done.returncode == 2 and done.stderr.strip() == f"error: {message}"


@pytest.mark.parametrize("output", [".", "/proc/none/such.txt"])
def test_a_list_of_faults_that_cannot_be_written_is_refused_before_images_are_read(folder, output):
    done = tool("pack", folder, output if output != "." else folder, "--check")
    assert done.returncode == 2 and "cannot write" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert "train" not in done.stdout


def test_an_output_that_cannot_be_a_folder_is_one_line(folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = tool("pack", folder, tmp_path / "file")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert f"cannot make the folder {tmp_path / 'file'}: File exists" in done.stderr


def test_a_check_names_what_is_unreadable_small_another_mode_or_there_twice(folder, tmp_path):
    train = folder / "train" / "ant"
    (train / "broken.jpg").write_bytes(b"x")
    Image.new("CMYK", (40, 40)).save(train / "print.jpg")
    Image.new("RGB", (40, 50), (9, 9, 9)).save(train / "fine.png")
    (train / "twice.png").write_bytes((train / "fine.png").read_bytes())
    done = tool("pack", folder, tmp_path / "faults.txt", "--check", "--image-size", 32, "--workers", 2)
    assert done.returncode == 0, done.stderr
    faults = [line.split("\t") for line in (tmp_path / "faults.txt").read_text().splitlines()]
    found = {(kind, name.removeprefix(f"{folder}/")) for kind, name, _ in faults}
    small = {("small", f"{split}/{name}/x.png") for split in ("train", "val") for name in ("ant", "cat")}
    assert found == small | {
        ("unreadable", "train/ant/broken.jpg"), ("mode", "train/ant/print.jpg"), ("duplicate", "train/ant/twice.png"),
        ("duplicate", "train/cat/x.png"), ("duplicate", "val/cat/x.png"),  # of one colour, as the ants
    }  # fmt: skip
    assert not list(tmp_path.glob("*.pack")) and "4 small" in done.stdout


def test_every_layout_is_packed(tmp_path):
    folder = layouts.photographs(tmp_path / "folder")
    layouts.tars(folder, tmp_path / "tars")
    done = tool("pack", tmp_path / "tars", tmp_path / "pack")
    assert done.returncode == 0, done.stderr
    ours, plain = (image_dataset("folder", root) for root in (tmp_path / "pack", folder))
    assert len(ours) == 24 and all(torch.equal(ours[i][0], plain[i][0]) for i in range(24))


def test_short_labels_are_refused(folder, tmp_path):
    assert tool("pack", folder, tmp_path / "pack").returncode == 0
    path = tmp_path / "pack" / "train.index.npz"
    with np.load(path) as arrays:
        arrays = dict(arrays)
    np.savez(path, **{**arrays, "labels": arrays["labels"][:1]})
    with pytest.raises(UserError, match="is damaged: it has 1 labels of 2 images"):
        image_dataset("folder", tmp_path / "pack")
