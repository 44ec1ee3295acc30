"""The cascade's curve: its ends are the widths alone, its answers those of the runtime, its latency their sum."""

import argparse
import json

import numpy as np
import pytest
import torch

from benchmark import cascade
from pretrain.common.cli import Parser
from pretrain.common.errors import UserError
from tests.pretrain.helpers import universal
from transfer.devices.universal_runtime import UniversalRuntime

MACS = {1.0: 8.0, 0.5: 3.0}  # millions


@pytest.fixture
def options(tmp_path):
    """Parsed options for a tiny checkpoint, calibrated at 1, 0.75 and 0.5, on the embedded digits."""
    torch.manual_seed(0)
    universal(base_channels=8, widths=(1.0, 0.75, 0.5)).save(tmp_path / "universal.safetensors")

    def make(*arguments: str) -> argparse.Namespace:
        parser = Parser("", "")
        cascade.add_arguments(parser)
        given = ["--checkpoint", str(tmp_path), "--dataset", "digits"]
        args = parser.parse_intermixed_args([*given, *arguments])
        args.threads = 1
        return args

    return make


def test_everything_is_written_and_the_ends_are_the_widths_alone(options, tmp_path):
    args = options(
        "--images",
        "40",
        "--narrow",
        "0.5",
        "0.75",
        "--output",
        str(tmp_path / "out"),
        "num_views=0",
        "labels=0.1",
        "epochs=1",
        "seed=1",
    )
    found = cascade.measure(args)
    alone = {row["network"]: row for row in found["rows"] if row["confidence"] is None}
    assert list(alone) == ["width 1", "width 0.75", "width 0.5"] and found["heads"]["seed"] == 1
    for narrow in ("0.5", "0.75"):
        rows = [row for row in found["rows"] if row["network"] == f"{narrow}, then 1"]
        first, last = rows[0], rows[-1]
        assert len(rows) == len(cascade.CONFIDENCES)
        if first["asked_twice"] == 0:
            assert first["top1"] == alone[f"width {narrow}"]["top1"]
        if last["asked_twice"] == 100:
            assert last["top1"] == alone["width 1"]["top1"]
            both = alone[f"width {narrow}"]["milliseconds"] + alone["width 1"]["milliseconds"]
            assert last["milliseconds"] == pytest.approx(both)
        shares = [row["asked_twice"] for row in rows]
        assert shares == sorted(shares)
        assert {row["confidence"] for row in rows if row["of_expected"]} == set(cascade.TIMED)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {f"cascade.{end}" for end in ("json", "md", "csv", "png", "svg")}
    assert json.loads((tmp_path / "out/cascade.json").read_text()) == json.loads(json.dumps(found))
    assert (tmp_path / "out/cascade.csv").read_text().count("\n") >= len(found["rows"])


def test_the_curve_says_what_the_runtime_answers(options, tmp_path):
    """Independent: ``UniversalRuntime.cascade`` on all images at once, against the curve from each width's scores."""
    runtime = UniversalRuntime(tmp_path)
    rng = np.random.default_rng(0)
    images = [rng.standard_normal((1, 3, 32, 32)).astype(np.float32) for _ in range(30)]
    matrices = {w: rng.standard_normal((runtime.source.net.backbone.num_features(w), 3)) for w in (1.0, 0.5)}
    heads = {w: lambda features, m=matrix: features @ m for w, matrix in matrices.items()}
    scores, seconds = cascade.asked(runtime, heads, images, [(0.5, 1.0)])
    labels = rng.integers(0, 3, 30)
    for row in cascade.cascaded(scores, seconds, labels, MACS, 0.5, 1.0):
        answer = runtime.cascade(np.concatenate(images), heads, 0.5, 1.0, row["confidence"])
        assert row["top1"] == pytest.approx(100 * np.mean(answer.scores.argmax(1) == labels))
        assert row["asked_twice"] == pytest.approx(100 * answer.wide.mean())


def test_latency_and_height_above_the_line_of_widths():
    """Narrow: 1 ms, right at the first image alone, sure of it; wide: 4 ms, always right."""
    scores = {1.0: np.array([[9.0, 0.0]] * 4), 0.5: np.array([[9.0, 0.0], [0.0, 0.1], [0.0, 0.1], [0.0, 0.1]])}
    seconds = {1.0: np.full(4, 4e-3), 0.5: np.full(4, 1e-3), (0.5, 1.0, 0.8): np.array([1.1e-3, 6e-3, 6e-3, 6e-3])}
    labels = np.zeros(4, dtype=int)
    rows = {row["confidence"]: row for row in cascade.cascaded(scores, seconds, labels, MACS, 0.5, 1.0)}
    assert rows[0.3]["top1"] == 25 and rows[0.3]["milliseconds"] == 1 and rows[0.3]["above_uniform"] == 0
    assert rows[0.8]["top1"] == 100 and rows[0.8]["milliseconds"] == pytest.approx(1 + 0.75 * 4)
    assert rows[0.8]["above_uniform"] == pytest.approx(0) and rows[0.8]["of_expected"] == pytest.approx(1.2)
    assert rows[0.8]["million_macs"] == pytest.approx(3 + 0.75 * 8) and rows[0.8]["above_at_macs"] is None
    assert rows[0.3]["above_at_macs"] == 0 and rows[0.3]["million_macs"] == 3
    assert rows[1.0]["asked_twice"] == 100 and rows[1.0]["above_uniform"] is None


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--dataset", "digtis"], "unknown data set 'digtis'; did you mean 'digits'"),
        (["--images", "0"], "--images 0 is too small"),
        (["--narrow", "1"], "--narrow 1 is the widest of all; expected a narrower one"),
        (["--narrow", "0.3"], "0.3 is not calibrated"),
        (["num_vews=0"], "unknown setting 'num_vews'; did you mean 'num_views'"),
    ],
)
def test_a_mistake_is_one_line(arguments, line, options):
    with pytest.raises(UserError, match=line):
        cascade.measure(options(*arguments))
