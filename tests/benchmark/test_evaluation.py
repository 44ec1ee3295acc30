"""One pass of fast beside runs of the paper's protocol: what is timed, and how parts become whole runs."""

import argparse

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark import evaluation
from pretrain.common.cli import Parser
from pretrain.common.errors import UserError
from tests.pretrain.helpers import universal
from transfer.recognition.protocols import Evaluation
from transfer.recognition.sgd import LinearSettings

IMAGES = 16  # to train on


@pytest.fixture
def options(tmp_path):
    """Parsed options for a tiny checkpoint, calibrated at 1 and 0.5, and a tiny folder of two classes."""
    torch.manual_seed(0)
    net = universal(base_channels=8)
    net.metadata["calibration"] |= {"batch_size": 2, "batches": 2}
    net.save(tmp_path / "universal.safetensors")
    for split, count in (("train", IMAGES // 2), ("test", 2)):
        for label, name in enumerate(("dark", "light")):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (20, 16), (200 * label + i, 30, 20)).save(folder / f"{i}.png")

    def make(*arguments: str) -> argparse.Namespace:
        parser = Parser("", "")
        evaluation.add_arguments(parser)
        given = ["--checkpoint", str(tmp_path), "--data", str(tmp_path / "data"), "--dataset", "folder"]
        args = parser.parse_args([*given, *arguments])
        args.device = "cpu"
        return args

    return make


def test_both_protocols_are_timed_at_widths_that_the_checkpoint_lacks(options):
    found = evaluation.measure(options("--widths", "0.3", "1"))
    fast, paper = found["rows"]
    assert fast["ratio"] == 1 and paper["ratio"] == pytest.approx(paper["seconds"] / fast["seconds"])
    assert paper["their_ratio"] == pytest.approx(paper["processor_seconds"] / fast["processor_seconds"])
    assert list(found["processor_seconds_of_paper"]) == ["1", "0.3"]
    assert sum(found["processor_seconds_of_paper"].values()) == pytest.approx(paper["processor_seconds"])
    assert sum(found["percent_of_them"].values()) == pytest.approx(100)
    assert "training (100), from 0.1 of an epoch" in found["estimated"]


def test_parts_of_an_epoch_stand_for_whole_runs(options, monkeypatch):
    """If all that is timed took a second: 1 of decoding, 3 epochs of calibration from half of one, 10 epochs of
    training from 2 of 4 steps, 1 of the test."""
    monkeypatch.setattr(evaluation, "spent", lambda call, device: [call(), np.array([1.0, 0.5])][1])
    monkeypatch.setattr(evaluation, "pass_of_fast", lambda *_: None)
    monkeypatch.setattr(evaluation, "linear_settings", lambda *_: LinearSettings(batch=4, epochs=10))
    seen, real = [], Evaluation.augmented_batches

    def counted(shared, epoch, batch):
        seen.append(0)
        for part in real(shared, epoch, batch):
            seen[-1] += 1
            yield part

    monkeypatch.setattr(Evaluation, "augmented_batches", counted)
    found = evaluation.measure(options("--widths", "1", "0.5", "--share", "0.5"))
    run = 1 + 3 * 2 + 10 * 2 + 1
    assert found["processor_seconds_of_paper"] == {"1": run / 2, "0.5": run / 2}
    assert (found["rows"][1]["seconds"], found["rows"][1]["ratio"]) == (2 * run, 2 * run)
    assert seen == [1, 2] * 4, "a warm-up and the part, at two widths, before and after the fast pass"
    assert found["percent_of_them"]["training"] == pytest.approx(100 * 20 / run)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--dataset", "cifra10"], "unknown data set 'cifra10'.*cifar10"),
        (["--share", "0"], r"--share 0 is no part of an epoch; expected a number in \(0, 1\]"),
        (["--widths", "0.1"], "outside the range 0.25 to 1"),
    ],
)
def test_a_mistake_is_one_line(arguments, line, options):
    with pytest.raises(UserError, match=line):
        evaluation.measure(options(*arguments))
