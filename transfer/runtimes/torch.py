"""torch in eager mode, on the CPU or a GPU."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from transfer.convert.load import load_plain


def load(path: Path, threads: int = 0, device: str = "cpu") -> Callable[[np.ndarray], np.ndarray]:
    """The network of a ``.safetensors``; threads are torch's, for the whole process. Images and features are copied
    to the device and back."""
    if threads:
        torch.set_num_threads(threads)
    module = load_plain(path).to(device)

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        return module(torch.from_numpy(images).to(device)).cpu().numpy()

    return run
