"""COCO's figures as they go into result.json."""

import math

from transfer.detection.evaluation.metrics import class_metrics, flat_metrics

NAN = math.nan


def test_figures_are_flat_and_undefined_ones_are_none():
    found = {"bbox": {"AP": 38.3, "AP50": 59.0, "AP75": 41.0, "APs": NAN, "APm": 40.0, "APl": 51.0, "AP-dog": 7.0}}
    metrics = flat_metrics(found, (50.0**2,))
    assert metrics["box/AP"] == 38.3 and metrics["box/APs"] is None and metrics["mask/APl"] is None
    assert [name for name in metrics if name.startswith("box/")] == [
        "box/AP", "box/AP50", "box/AP75", "box/APs", "box/APm", "box/APl"
    ]  # fmt: skip


def test_a_detector_that_found_nothing_has_zero_where_there_are_objects():
    nothing = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl"), NAN)
    metrics = flat_metrics({"bbox": nothing, "segm": nothing}, (20.0**2, 100.0**2))
    for kind in ("box", "mask"):
        assert (metrics[f"{kind}/AP"], metrics[f"{kind}/AP50"], metrics[f"{kind}/APs"], metrics[f"{kind}/APl"]) == (
            0,
        ) * 4
        assert metrics[f"{kind}/APm"] is None  # no object of that size
    assert set(flat_metrics({}, ()).values()) == {None}


def test_classes_keep_their_names():
    found = class_metrics({"bbox": {"AP": 1.0, "AP-dining table": 3.0, "AP-cat": NAN}})
    assert found == {"box": {"dining table": 3.0, "cat": None}, "mask": {}}
