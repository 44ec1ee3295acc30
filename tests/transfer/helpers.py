"""What many tests of transfer share: a result, images, and a Python without this project."""

import torch

from tests.programs import stranger
from transfer.results import Result

VIT = {"image_size": 32, "patch_size": 8, "depth": 1}


def a_result(**changes) -> Result:
    """A valid one with some fields changed."""
    fields = {
        "task": "linear", "dataset": "digits", "method": "us3l", "backbone": "resnet18", "width": 0.5, "seed": 0,
        "metrics": {"top1": 91.25, "top5": None}, "params": 2_799_000, "macs": 9_900_000, "checkpoint": "a" * 64,
        "config": "b" * 64, "seconds": 1.5, "details": {"pretraining": {"seed": 0}},
    }  # fmt: skip
    return Result(**{**fields, **changes})


def images(size=64, batch=2):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def run_without_us(code: str, folder) -> str:
    """What Python prints in ``folder`` where this project cannot be imported."""
    done = stranger(code, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout
