"""An image that cannot be read is replaced by the next one of the epoch, whoever reads it, or stops the run."""

import json

import pytest
import torch

from pretrain.common.errors import BadImageError, UserError
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.calibration import CalibrationBatches
from pretrain.data.images.datasets import image_dataset
from pretrain.data.loader import CutViews, view_loader
from pretrain.data.order import IterationBatches, epoch_order
from pretrain.run.bad_images import BadImages
from pretrain.run.distributed import join_world
from tests.pretrain.data.images.layouts import photographs
from tests.programs import tool

VIEWS = [Augmentation(), Augmentation()]


@pytest.fixture
def folder(tmp_path):
    """24 images of 120 x 100 px, which are not kept in memory, two of them damaged: 3 at once, 10 at its pixels."""
    root = photographs(tmp_path / "images", size=(120, 100))
    (root / "train" / "class_0" / "3.png").write_bytes(b"no image")
    path = root / "train" / "class_1" / "2.png"
    path.write_bytes(path.read_bytes()[:-900])
    return root


def loaded(root, workers: int = 0, on_bad: str = "replace", decode: str = "full") -> list:
    views = CutViews(image_dataset("folder", root), VIEWS, 16, seed=3, decode=decode, on_bad=on_bad)
    return list(view_loader(views, IterationBatches(24, 6, 3, 0, 8), workers))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("decode", ["full", "reduced"])
def test_the_next_image_of_the_epoch_takes_its_place_with_its_randomness(workers, decode, folder, tmp_path):
    found = loaded(folder, workers, decode=decode)
    whole = loaded(photographs(tmp_path / "whole", size=(120, 100)), decode=decode)
    assert sorted(torch.cat([batch.bad for batch in found]).tolist()) == [3, 3, 10, 10]
    for batch, expected in zip(found, whole, strict=True):
        assert torch.equal(batch.keys, expected.keys)
        fine = ~torch.isin(batch.keys[:, 1], torch.tensor([3, 10]))
        assert torch.equal(batch.images[fine], expected.images[fine])
        for row in (~fine).nonzero().flatten().tolist():
            epoch, index = batch.keys[row].tolist()
            order = epoch_order(24, 3, epoch).tolist()
            after = order[order.index(index) + 1 :] + order
            other = next(i for i in after if i not in (3, 10))
            views = CutViews(image_dataset("folder", folder), VIEWS, 16, seed=3, decode=decode)
            pixels, drawn = views.read(other, batch.keys[row : row + 1])
            assert torch.equal(batch.images[row], views.cut(pixels, drawn))
            assert batch.labels[row] == other // 8


def test_stop_names_the_image(folder):
    with pytest.raises(BadImageError, match=r"cannot read the image .*\.png"):
        loaded(folder, on_bad="stop")


def test_calibration_replaces_it_too(folder):
    def batches(on_bad):
        dataset = image_dataset("folder", folder)
        return list(CalibrationBatches(dataset, Augmentation(), 16, 8, 3, 0, [0.5] * 3, [0.5] * 3, on_bad=on_bad))

    assert sum(map(len, batches("replace"))) == 24
    with pytest.raises(BadImageError):
        batches("stop")


def test_no_readable_image_at_all_is_one_line(folder):
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of the images can be read"):
        loaded(folder)


def test_bad_images_are_named_once_and_too_many_end_the_run(folder, tmp_path, capsys):
    dataset, world = image_dataset("folder", folder), join_world("cpu")
    watch = BadImages(dataset, 0.05, tmp_path, world)
    for _ in range(2):
        watch.add(torch.tensor([3]))
        watch.report()
    assert "1 unreadable image so far" in capsys.readouterr().out
    [line] = (tmp_path / "bad_images.txt").read_text().splitlines()
    assert line.split("\t")[0].endswith("class_0/3.png") and "not an image in a known format" in line
    again = BadImages(dataset, 0.05, tmp_path, world)
    again.add(torch.tensor([10]))
    with pytest.raises(UserError, match=r"2 images of 24 cannot be read, .*data\.max_bad allows 1"):
        again.report()
    assert len((tmp_path / "bad_images.txt").read_text().splitlines()) == 2
    none = BadImages(dataset, 0, tmp_path / "other", world)
    none.add(torch.tensor([3]))
    with pytest.raises(UserError, match="allows 0"):
        none.report()


def test_a_run_ends_well_and_tells(repository, folder, tmp_path):
    def run(*options):
        return tool(
            "pretrain", repository / "configs/pretrain/us3l_resnet18_digits.py", "data.name=folder",
            f"data.root={folder}", "data.image_size=32", "training.batch_size=8", "training.iterations=4",
            "training.threads=1", "backbone.base_channels=8", "calibration.batches=2", "calibration.batch_size=8",
            *options,
        )  # fmt: skip

    done = run("data.max_bad=0.1", "--work-dir", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "24 images in 3 folders" in done.stdout and "unreadable" in done.stdout
    assert len((tmp_path / "run" / "bad_images.txt").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["max_bad"] == 0.1
    stopped = run("data.on_bad=stop", "--work-dir", tmp_path / "stopped")
    assert stopped.returncode == 2 and "cannot read the image" in stopped.stderr
    assert "Traceback" not in stopped.stderr
