"""OpenVINO on the CPU, in float32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np


def load(path: Path, threads: int = 0, device: str = "cpu") -> Callable[[np.ndarray], np.ndarray]:
    """A compiled ``.xml``, one stream that answers as soon as it can."""
    import openvino

    # a processor with bfloat16 would round to it by itself
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(path, "CPU", options)
    return lambda images: compiled(images)[0].copy()  # its own memory is written to by the next call
