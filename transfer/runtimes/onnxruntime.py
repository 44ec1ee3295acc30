"""onnxruntime on the CPU."""

from collections.abc import Callable
from pathlib import Path

import numpy as np


def load(path: Path, threads: int = 0, device: str = "cpu") -> Callable[[np.ndarray], np.ndarray]:
    """A session on a ``.onnx``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # threads that wait sleep: spinning takes cores from whatever runs beside or next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["features"], {"images": images})[0]
