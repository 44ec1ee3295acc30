"""The HTML report of a folder of runs, opened in a real browser."""

import html
import json
import os
import re
import subprocess
from html.parser import HTMLParser
from urllib.parse import unquote, unquote_to_bytes

import pytest

from pretrain.common.errors import UserError
from tests.requirements import requires
from transfer.report import write_report
from transfer.report.curves import read_runs

WIDTHS = {1.0: 91.25, 0.5: 70.0, 0.25: 80.0}


@pytest.fixture
def runs(make_result, tmp_path):
    """Two pretrainings and the results of three methods, one with a name that is HTML."""
    folder = tmp_path / "my runs"
    for method, gain in (("us3l", 0.0), ("byol", 5.0), ("<b>&x", -3.0)):
        for width, top1 in WIDTHS.items():
            if (method, width) != ("byol", 0.5):
                result = make_result(method=method, width=width, metrics={"top1": top1 + gain, "top5": None})
                result.write(folder / "transfer" / method.strip("<>&") / f"{width:g}")
    for name, count in (("one", 4), ("two", 1)):
        (folder / name).mkdir()
        lines = [
            {"iteration": i, "epoch": i / 4, "lr": 0.1, "loss": 5.0 - i, "base": 4.0, "seconds": 9.0, "0.5/rank": 3.0}
            for i in range(1, count + 1)
        ]
        (folder / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"iterat')
        (folder / name / "config.json").write_text("{}")
    return folder


class Page(HTMLParser):
    """What is in a page: tables by id as rows of text, links, and every address that would be fetched."""

    def __init__(self, text: str):
        super().__init__()
        self.tables, self.links, self.fetched, self.ids, self.tags = {}, [], [], [], []
        self.rows = self.cell = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in ("link", "script", "img", "iframe"):
            self.fetched += [values[key] for key in ("src", "href") if key in values]
        if tag == "table":
            self.rows = self.tables[values["id"]] = []
        elif tag == "tr" and self.rows is not None:
            self.rows.append([])
        elif tag in ("td", "th") and self.rows is not None:
            self.cell = ""

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self.cell is not None:
            self.rows[-1].append(self.cell)
            self.cell = None
        elif tag == "table":
            self.rows = None


def opened(path, query: str = "", *options: str) -> str:
    """The document as a headless Chromium has it after its scripts have run."""
    command = [
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000",
        f"--user-data-dir={path.parent / 'browser'}", *options, "--dump-dom", f"{path.as_uri()}{query}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1000:]
    return done.stdout


def test_tables_plots_curves_and_links_are_in_one_file(runs, tmp_path):
    page = Page(write_report(runs, tmp_path / "out" / "report.html").read_text())
    assert page.tables["table-widths"][0] == ["task", "data", "metric", "backbone", "method", "1.0", "0.5", "0.25"]
    assert ["linear", "digits", "top-1", "resnet18", "<b>&x", "88.2", "67.0", "77.0"] in page.tables["table-widths"]
    assert len(page.tables["table-results"]) == 1 + 8
    assert page.tags.count("svg") == 1 + 1 + 2 * 3, "accuracy and its legend; loss, rank and rate of each pretraining"
    [head, *results] = page.tables["table-results"]
    assert {"backbone", "method", "data", "epochs", "batch", "path"} <= set(head)
    assert results[0][head.index("path")] == "transfer/us3l/1" and "resnet18" in results[0]
    assert page.links and all((tmp_path / "out" / unquote(link)).is_file() for link in page.links)
    assert {link.rpartition("/")[2] for link in page.links} == {"result.json", "metrics.jsonl", "config.json"}


def test_a_folder_whose_name_is_no_text_is_linked(runs, tmp_path):
    name = os.fsdecode(b"\xffone")
    (runs / "one").rename(runs / name)
    page = Page(write_report(runs, tmp_path / "report.html").read_text())
    [link] = [link for link in page.links if "%FFone" in link and link.endswith("metrics.jsonl")]
    assert (tmp_path / os.fsdecode(unquote_to_bytes(link))).is_file()


def test_nothing_is_fetched_and_identifiers_are_unique(runs, tmp_path):
    text = write_report(runs, tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.fetched == [] and "default-src 'none'" in text
    assert not re.findall(r"(?:url\(|@import|src=)[\"']?https?:", text)
    assert len(page.ids) == len(set(page.ids))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used and used <= set(page.ids)


def test_a_missing_figure_is_visible_and_the_best_is_marked(runs, tmp_path):
    text = write_report(runs, tmp_path / "report.html").read_text()
    byol = next(row for row in Page(text).tables["table-widths"] if "byol" in row)
    assert byol[-3:] == ["96.2", "–", "85.0"]
    assert "<b>96.2</b>" in text and "<u>91.2</u>" in text and "<b>70.0</b>" in text
    assert "the best is bold and the second underlined" in re.sub(r"\s+", " ", text)


def test_what_is_recorded_of_widths_is_explained(runs, tmp_path):
    text = write_report(runs, tmp_path / "report.html").read_text()
    assert ">effective rank of embeddings<" in text and "0.5/rank" not in text
    assert "Effective rank: in how many directions" in text


def test_a_pretraining_says_what_it_was(runs, tmp_path):
    config = {"backbone": {"name": "resnet18"}, "method": "us3l", "data": {"name": "digits"},
              "training": {"batch_size": 64, "seed": 3}}  # fmt: skip
    (runs / "one" / "config.json").write_text(json.dumps(config))
    text = write_report(runs, tmp_path / "report.html").read_text()
    assert "resnet18, us3l, digits, batch 64, seed 3, 4 iterations, 1 epochs, 0.1 min" in text


def test_the_same_runs_give_the_same_page(runs, tmp_path):
    pages = [write_report(runs, tmp_path / name).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


@requires("chromium")
class TestInABrowser:
    def test_a_click_sorts_figures_downwards_and_a_second_click_upwards(self, runs, tmp_path):
        path = write_report(runs, tmp_path / "report.html")
        once, twice = opened(path, "?sort=widths:5"), opened(path, "?sort=widths:5,widths:5")
        assert [float(row[5]) for row in Page(once).tables["table-widths"][1:]] == [96.2, 91.2, 88.2, 9.9, 2.8]
        assert 'aria-sort="descending"' in once and 'aria-sort="ascending"' in twice
        figures = [float(row[5]) for row in Page(twice).tables["table-widths"][1:]]
        assert figures == sorted(figures)

    def test_names_are_sorted_as_text_and_missing_figures_stay_at_the_end(self, runs, tmp_path):
        path = write_report(runs, tmp_path / "report.html")
        names = [row[4] for row in Page(opened(path, "?sort=widths:4")).tables["table-widths"][1:]]
        assert names == ["<b>&x", "byol", "us3l", "", ""]
        for query in ("?sort=widths:6", "?sort=widths:6,widths:6"):
            figures = [row[6] for row in Page(opened(path, query)).tables["table-widths"][1:]]
            assert figures[-1] == "–" and "–" not in figures[:-1]

    def test_only_the_table_that_is_clicked_changes_and_each_row_stays_whole(self, runs, tmp_path):
        path = write_report(runs, tmp_path / "report.html")
        before, after = Page(opened(path)), Page(opened(path, "?sort=widths:7,nowhere:1,widths:99"))
        assert before.tables["table-results"] == after.tables["table-results"]
        assert before.tables["table-widths"] != after.tables["table-widths"]
        assert sorted(before.tables["table-widths"]) == sorted(after.tables["table-widths"])


class TestMistakes:
    def test_an_empty_folder_is_one_clear_line(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(UserError, match="holds neither a result.json nor a metrics.jsonl") as error:
            write_report(tmp_path / "empty", tmp_path / "out" / "report.html")
        assert "\n" not in str(error.value) and not (tmp_path / "out").exists()

    def test_no_folder_and_no_page(self, runs, tmp_path):
        with pytest.raises(UserError, match="is no folder"):
            write_report(tmp_path / "nowhere", tmp_path / "report.html")
        with pytest.raises(UserError, match="no name of a page"):
            write_report(runs, tmp_path)

    def test_a_damaged_result_is_named_and_left_out(self, runs, tmp_path, capsys):
        bad = next(runs.rglob("result.json"))
        bad.write_text("{")
        page = Page(write_report(runs, tmp_path / "report.html").read_text())
        assert len(page.tables["table-results"]) == 1 + 7
        assert f"left out: {bad} is damaged" in capsys.readouterr().err
        assert f"{bad} is damaged" in html.unescape((tmp_path / "report.html").read_text())


def test_runs_are_read_up_to_a_line_cut_short_and_panels_part_losses_from_widths(runs):
    one, two = read_runs(runs)
    assert (one.folder.name, len(one.lines), two.lines[-1]["iteration"]) == ("one", 4, 1)
    assert one.panels == {"loss": ["loss", "base"], "rank": ["0.5/rank"], "learning rate": ["lr"]}


def test_a_folder_with_pretrainings_alone_has_a_report(runs, tmp_path):
    page = Page(write_report(runs / "one", tmp_path / "report.html").read_text())
    assert page.tables == {} and page.tags.count("svg") == 3
