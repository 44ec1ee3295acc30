"""tools/benchmark.py widths: shares of operations, and the two overheads as they are defined."""

import argparse

import pytest

from benchmark import widths


def test_overheads_follow_from_the_rows():
    args = argparse.Namespace(
        backbone="resnet18", stem="imagenet", image_size=32, batch=2, widths=[0.5, 0.25], repeats=1, device="cpu"
    )
    found = widths.measure(args)
    rows = found["rows"]
    assert [row["width"] for row in rows] == [1.0, 0.5, 0.25]
    shares = [row["share_of_operations"] for row in rows]
    assert shares[0] == 1 and 0.2 < shares[1] < 0.35 and 0.05 < shares[2] < 0.12
    seconds = sum(row["seconds"] for row in rows)
    assert found["overhead"] == pytest.approx(seconds / (rows[0]["seconds"] * sum(shares)))
    assert found["overhead_of_slicing"] == pytest.approx(seconds / sum(row["seconds_of_plain_network"] for row in rows))
