"""tools/pack.py: every split, its own work recognised, mistakes in one line."""

import subprocess
import sys

import pytest
import torch
from PIL import Image

from pretrain.data.images.datasets import image_dataset


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "val"):
        for name in ("ant", "cat"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 9), (len(split), len(name), 0)).save(tmp_path / "images" / split / name / "x.png")
    return tmp_path / "images"


def run(repository, *args) -> subprocess.CompletedProcess:
    command = [sys.executable, str(repository / "tools/pack.py"), *map(str, args)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def test_both_splits_are_packed_once_and_found_again(repository, folder, tmp_path):
    done = run(repository, folder, tmp_path / "pack")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "pack")
    for split in ("train", "test"):
        ours, plain = (image_dataset("folder", root, split) for root in (tmp_path / "pack", folder))
        assert len(ours) == 2 and all(torch.equal(ours[i][0], plain[i][0]) for i in range(2))
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "pack").iterdir()}
    assert len(written) == 4
    (tmp_path / "pack" / "test.index.npz").unlink()  # as if the first run had been killed before its end
    again = run(repository, folder, tmp_path / "pack")
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
def test_a_mistake_is_one_line_and_exit_code_2(repository, folder, tmp_path, prepare, message):
    prepare(folder)
    done = run(repository, folder, tmp_path / "pack")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and message in done.stderr


def test_other_images_are_not_overwritten(repository, folder, tmp_path):
    assert run(repository, folder, tmp_path / "pack").returncode == 0
    Image.new("RGB", (8, 9)).save(folder / "train" / "ant" / "y.png")
    done = run(repository, folder, tmp_path / "pack")
    assert done.returncode == 2 and "holds other images than" in done.stderr


def test_an_output_that_cannot_be_a_folder_is_one_line(repository, folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = run(repository, folder, tmp_path / "file")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert f"cannot make the folder {tmp_path / 'file'}: File exists" in done.stderr
