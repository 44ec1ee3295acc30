"""Small steps for the tests of benchmarks."""

import argparse


def step_arguments(**changes: object) -> argparse.Namespace:
    """What ``add_step_arguments`` parses, for a ResNet-18 of an eighth of the channels on four images."""
    values = {
        "backbone": "resnet18", "stem": "cifar_half", "base_channels": 8, "image_size": 16, "batch": 4,
        "widths": [1.0, 0.625, 0.25], "precision": "fp32", "device": "cpu", "threads": 1, "json": False,
    }  # fmt: skip
    return argparse.Namespace(**values | changes)
