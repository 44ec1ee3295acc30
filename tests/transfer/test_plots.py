"""The plot of accuracy and AP against MACs."""

from dataclasses import asdict

import pytest
from PIL import Image

from transfer.plots import legend_labels, line_styles, plot, si, spaced
from transfer.tables.widths import series


@pytest.fixture
def records(make_result):
    found = [
        make_result(task=task, method=method, width=width, macs=int(4e7 * width**2), metrics={metric: 50 + 30 * width})
        for task, metric in (("linear", "top1"), ("detection", "box/AP"))
        for method in ("us3l", "random")
        for width in (1.0, 0.5, 0.25)
    ]
    return [asdict(result) for result in found]


def test_png_and_svg_are_written_and_the_svg_repeats_exactly(records, tmp_path):
    paths = plot(records, tmp_path / "one")
    assert [path.suffix for path in paths] == [".png", ".svg"]
    with Image.open(paths[0]) as image:
        assert image.width > image.height > 300
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50, "something is drawn"
    again = plot(records, tmp_path / "two")
    assert paths[1].read_bytes() == again[1].read_bytes()


def test_random_weights_and_pretrained_ones_are_lines_of_their_own(records):
    labels = legend_labels(series(records))
    assert set(labels.values()) == {"us3l pretrained", "random weights"}
    styles = line_styles(["us3l pretrained", "random weights"])
    assert styles["us3l pretrained"]["color"] != styles["random weights"]["color"]
    assert "linestyle" in styles["random weights"] and "linestyle" not in styles["us3l pretrained"]


def test_backbones_are_told_apart_where_there_are_several(records):
    other = [{**record, "backbone": "resnet50"} for record in records]
    labels = set(legend_labels(series(records + other)).values())
    assert {"us3l pretrained, resnet18", "us3l pretrained, resnet50"} <= labels


def test_ticks_do_not_overlap():
    assert spaced([1, 100, 95, 50, 20]) == [100, 20, 1]
    assert spaced([7]) == [7]


def test_counts_are_short():
    assert [si(n) for n in (2_764_800, 36_998_656, 4_089_184_256)] == ["2.8 M", "37 M", "4.1 G"]
