"""ncnn on the CPU, in float32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np


def load(path: Path, threads: int = 0, device: str = "cpu") -> Callable[[np.ndarray], np.ndarray]:
    """A ``.ncnn.param`` with the ``.ncnn.bin`` beside it; the images of a batch run one after the other."""
    import ncnn

    network = ncnn.Net()
    options = network.opt
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_vulkan_compute = False
    if threads:
        options.num_threads = threads
    if network.load_param(str(path)) or network.load_model(str(path.with_suffix(".bin"))):
        raise RuntimeError(f"ncnn cannot read {path}")

    def one(image: np.ndarray) -> np.ndarray:
        extractor, kept = network.create_extractor(), np.ascontiguousarray(image)  # ncnn reads it as late as below
        extractor.input("in0", ncnn.Mat(kept))
        status, features = extractor.extract("out0")
        if status:
            raise RuntimeError(f"ncnn ended with {status}")
        return np.array(features)

    return lambda images: np.stack([one(image) for image in images])
