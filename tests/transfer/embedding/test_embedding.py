"""Features of photographs: those of the network, whole after a kill, and a page of neighbours that a browser shows."""

import os

import numpy as np
import pytest
import torch

from pretrain.data.augmentation.colour_stage import normalise
from pretrain.data.images.layout import images_at
from tests.pretrain.data.images import layouts
from tests.pretrain.helpers import MEAN, STD, universal
from tests.programs import tool
from tests.requirements import requires
from transfer.embedding import features
from transfer.embedding.features import Embedder, write_npz, write_parquet, write_unreadable
from transfer.embedding.neighbours import nearest_images, write_page
from transfer.recognition.images import evaluation_view
from transfer.source import Source


@pytest.fixture
def source():
    net = universal(base_channels=8, stem="cifar")
    return Source(net, "us3l", net.hash)


@pytest.fixture
def images(tmp_path):
    root = layouts.photographs(tmp_path / "photographs")
    (root / "train" / "class_1" / "0.png").write_bytes(b"no image")
    return images_at(root, "train")


def embedder(source, images, tmp_path) -> Embedder:
    return Embedder(source, images, [1.0, 0.5], 32, tmp_path / "parts", ["cpu"], batch=5)


def test_features_are_those_of_the_network_on_the_test_view(source, images, tmp_path):
    found = embedder(source, images, tmp_path).embed()
    assert len(found.paths) == 23 and len(found.unreadable) == 1 and "class_1/0.png" in found.unreadable[0]
    view = evaluation_view(32, "bicubic")
    for row in (0, 8, 22):
        pixels = view(images[int(found.indices[row])][0])[None]
        assert found.paths[row] == images.names[int(found.indices[row])]
        for width, vectors in found.vectors.items():
            expected = source.net(normalise(pixels, MEAN, STD), width)[0]
            torch.testing.assert_close(torch.from_numpy(vectors[row]), expected, atol=1e-5, rtol=1e-4)


def test_a_killed_run_goes_on_where_it_was(source, images, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "PART", 6)
    whole = embedder(source, images, tmp_path / "whole").embed()
    computed = []
    compute = Embedder.compute

    def dies(self, indices):
        computed.append(indices)
        if len(computed) == 3:
            raise KeyboardInterrupt
        return compute(self, indices)

    monkeypatch.setattr(Embedder, "compute", dies)
    with pytest.raises(KeyboardInterrupt):
        embedder(source, images, tmp_path).embed()
    found = embedder(source, images, tmp_path).embed()
    assert [indices.start for indices in computed] == [0, 6, 12, 12, 18]
    assert found.paths == whole.paths and all(np.array_equal(found.vectors[w], whole.vectors[w]) for w in (1.0, 0.5))


def test_other_images_or_widths_share_no_parts(source, images, tmp_path):
    first = embedder(source, images, tmp_path)
    other = Embedder(source, images, [0.5], 32, tmp_path / "parts", ["cpu"])
    assert first.folder != other.folder


def test_only_its_own_parts_are_removed(source, images, tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "mine.png").touch()
    done = embedder(source, images, tmp_path)
    done.embed()
    done.clean()
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["mine.png"]
    (tmp_path / "parts" / "mine.png").unlink()
    done.clean()
    assert not (tmp_path / "parts").exists()


def test_both_formats_hold_the_same(source, images, tmp_path):
    found = embedder(source, images, tmp_path).embed()
    with np.load(write_npz(found, tmp_path / "a.npz"), allow_pickle=False) as arrays:
        assert arrays["paths"].tolist() == found.paths and np.array_equal(arrays["0.5"], found.vectors[0.5])


def test_a_part_that_was_damaged_is_computed_again(source, images, tmp_path):
    whole = embedder(source, images, tmp_path).embed()
    [part] = (tmp_path / "parts").rglob("*.npz")
    content = part.read_bytes()
    for damaged in (content[:-40], content[:-9] + b"x" * 9, content[:2000] + b"x" * 99 + content[2099:], b""):
        part.write_bytes(damaged)
        found = embedder(source, images, tmp_path).embed()
        assert found.paths == whole.paths and np.array_equal(found.vectors[0.5], whole.vectors[0.5])


@requires("images")
def test_names_that_are_no_text_are_written_by_every_writer(source, tmp_path):
    import pyarrow.parquet as pq

    root = layouts.photographs(tmp_path / "photographs")
    for name in ("0.png", "1.png"):
        path = os.fsencode(root / "train" / "class_0" / name)
        os.rename(path, path.replace(b".png", b"\xff.png"))
    (root / "train" / "class_0" / "1\udcff.png").write_bytes(b"no image")
    images = images_at(root, "train")
    found = embedder(source, images, tmp_path).embed()
    with np.load(write_npz(found, tmp_path / "a.npz"), allow_pickle=False) as arrays:
        assert arrays["paths"].tolist() == found.paths and found.paths[0] == "class_0/0\udcff.png"
    table = pq.read_table(write_parquet(found, tmp_path / "a.parquet")).to_pydict()
    assert table["path"][0] == "class_0/0\\xff.png"
    assert b"class_0/1\xff.png" in write_unreadable(found, tmp_path / "unreadable.txt").read_bytes()
    assert b"class_0/0\xff.png" in write_page(found, images, 3, tmp_path / "page.html", "A title").read_bytes()


@requires("images")
def test_parquet_has_a_row_for_each_width_and_image(source, images, tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr(features, "PART", 10)
    found = embedder(source, images, tmp_path).embed()
    table = pq.read_table(write_parquet(found, tmp_path / "a.parquet")).to_pydict()
    assert table["path"] == found.paths * 2 and table["width"] == [1.0] * 23 + [0.5] * 23
    assert np.array_equal(np.array(table["vector"][23:], np.float32), found.vectors[0.5])


def test_neighbours_are_the_largest_cosines():
    vectors = np.array([[1, 0], [2, 0.1], [0, 3], [-1, 0], [1, 1]], np.float32)
    assert [row for row, _ in nearest_images(vectors, 0)] == [1, 4, 2, 3]
    assert nearest_images(vectors, 0, 1)[0][1] == pytest.approx(2 / np.hypot(2, 0.1))


@requires("chromium")
def test_the_page_shows_its_photographs_in_a_browser(source, images, tmp_path):
    from tests.transfer.report.test_report import opened

    found = embedder(source, images, tmp_path).embed()
    path = write_page(found, images, 3, tmp_path / "neighbours.html", "A <title>")
    document = opened(path)
    assert document.count("<img") == 3 * (1 + 2 * 8) and "A &lt;title&gt;" in document
    opened(path, "", f"--screenshot={tmp_path / 'page.png'}", "--window-size=390,1200")
    from PIL import Image

    shot = np.array(Image.open(tmp_path / "page.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(shot, axis=0)) > 500, "photographs have many colours, a page without them has few"


def test_the_command_line(source, tmp_path):
    root = layouts.photographs(tmp_path / "photographs")
    source.net.save(tmp_path / "universal.safetensors")
    theirs = tmp_path / "out" / "parts" / "mine.png"
    theirs.parent.mkdir(parents=True)
    theirs.touch()

    def run(*options):
        return tool("embed", *options, "--checkpoint", tmp_path)

    done = run(root, "--width", "0.5", "1", "--output", tmp_path / "out", "--neighbours", "2", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "embedding.json",
        "features.npz",
        "neighbours.html",
        "parts",
    ]
    assert theirs.is_file()
    assert done.stdout.splitlines()[-1].endswith("neighbours.html") and "24 images in 3 folders" in done.stdout
    kept = (tmp_path / "out" / "features.npz").read_bytes()
    (tmp_path / "file").touch()
    for options, message in (
        ((tmp_path / "none",), "no such folder"),
        ((root, "--width", "0.3"), "not calibrated"),
        ((root, "--output", tmp_path / "out"), "holds features of other images, widths or another checkpoint"),
        ((root, "--output", tmp_path / "file" / "x"), "cannot write"),
        ((root, "--image-size", 10**9), "expected 32768 or less"),
    ):
        bad = run("--output", tmp_path / "other", *options)
        assert bad.returncode == 2 and message in bad.stderr and "Traceback" not in bad.stderr
    assert (tmp_path / "out" / "features.npz").read_bytes() == kept
