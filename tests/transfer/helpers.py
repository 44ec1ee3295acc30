"""A result that many tests share."""

from transfer.results import Result


def a_result(**changes) -> Result:
    """A valid one with some fields changed."""
    fields = {
        "task": "linear", "dataset": "digits", "method": "us3l", "backbone": "resnet18", "width": 0.5, "seed": 0,
        "metrics": {"top1": 91.25, "top5": None}, "params": 2_799_000, "macs": 9_900_000, "checkpoint": "a" * 64,
        "config": "b" * 64, "seconds": 1.5, "details": {"pretraining": {"seed": 0}},
    }  # fmt: skip
    return Result(**{**fields, **changes})
