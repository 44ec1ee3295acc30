"""The plot of accuracy and AP against MACs."""

import re
from dataclasses import asdict
from html import escape
from xml.etree import ElementTree

import pytest
from PIL import Image

from transfer.plots import Look, caption_of, fitting_legend, legend_labels, new_figure, panels_of, plot, si, spaced
from transfer.tables.widths import series
from transfer.text import printable


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


@pytest.mark.parametrize(("name", "columns"), [("us3l", 3), ("us3l_resnet18_seed0 at", 2), ("a long name " * 3, 1)])
def test_a_legend_has_the_columns_that_fit_beside_each_other(name, columns):
    figure = new_figure(5.2, 3.0)
    axis = figure.subplots()
    for number in range(4):
        axis.plot([0, 1], [0, number], label=f"{name} {number}")
    fitting_legend(figure, 3)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len({round(text.get_window_extent().x0) for text in legend.get_texts()}) == columns
    assert legend.get_window_extent().width <= figure.bbox.width


def test_random_weights_and_pretrained_ones_are_lines_of_their_own(records):
    labels = legend_labels(series(records))
    assert set(labels.values()) == {"us3l", "random weights"}
    styles = Look.of(series(records)).styles
    assert styles["us3l"]["color"] != styles["random weights"]["color"]
    assert styles["us3l"]["linestyle"] == "-" != styles["random weights"]["linestyle"]


def test_a_colour_is_a_methods_in_every_panel_and_what_differs_is_in_the_legend(records, make_result):
    """A ``paper`` curve beside a ``fast`` one is not one method against another."""

    def protocol(name):
        return {"details": {"protocol": name, "pretraining": {"seed": 0}}}

    more = [asdict(make_result(method=method, width=width, metrics={"top1": 50.0}, **protocol(name)))
            for method, name in (("us3l", "fast"), ("us3l", "paper"), ("byol", "paper"))
            for width in (1.0, 0.5)]  # fmt: skip
    look = Look.of(series([*records, *more]))
    assert {"us3l, fast protocol", "us3l, paper protocol", "byol, paper protocol"} <= set(look.styles)
    us3l = [style for label, style in look.styles.items() if label.startswith("us3l")]
    assert len({style["color"] for style in us3l}) == 1 and len({str(style["linestyle"]) for style in us3l}) >= 2
    assert look.styles["byol, paper protocol"]["color"] != us3l[0]["color"]
    panels = panels_of(series([*records, *more]))
    for lines in panels.values():
        drawn = [str(look.styles[look.labels[line.key]]) for line in lines]
        assert len(set(drawn)) == len(lines), "no two lines of a panel look alike"


@pytest.mark.parametrize("name", [r"$\frac{1}$", "$x", "_hidden", "<b>&x", "\x1b[31m", "日本", "a\nb", "%s {} \\"])
def test_a_method_is_called_as_it_is_called(name, records, tmp_path):
    found = [{**record, "method": name, "dataset": name} for record in records if record["method"] == "us3l"]
    _, svg = plot(found, tmp_path)
    text = re.sub(r"\s+", " ", svg.read_text())
    assert f"<!-- {escape(printable(name))}: linear -->" in text or name.startswith("<")
    ElementTree.parse(svg)


def test_a_caption_says_the_protocol_and_the_seeds(make_result):
    found = [asdict(make_result(width=w, seed=s, details={"protocol": "fast"})) for w in (1.0, 0.5) for s in (0, 1)]
    [(panel, lines)] = panels_of(series(found)).items()
    assert caption_of(panel, lines) == "top-1 on digits, linear by fast. Mean and standard deviation over 2 seeds."


def test_backbones_are_told_apart_where_there_are_several(records):
    other = [{**record, "backbone": "resnet50"} for record in records]
    labels = set(legend_labels(series(records + other)).values())
    assert {"us3l, resnet18", "us3l, resnet50"} <= labels


def test_ticks_do_not_overlap():
    assert spaced([1, 100, 95, 50, 20]) == [100, 20, 1]
    assert spaced([7]) == [7]


def test_counts_are_short():
    assert [si(n) for n in (2_764_800, 36_998_656, 4_089_184_256)] == ["2.8 M", "37 M", "4.1 G"]
