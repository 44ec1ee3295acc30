"""ExecuTorch with XNNPACK on the CPU."""

import weakref
from pathlib import Path

import numpy as np
import torch

# ExecuTorch's threads belong to the process, and a loaded program that meets other ones crashes it
LOADED: "weakref.WeakSet[Program]" = weakref.WeakSet()


class Program:
    """A program, float32 images [B, 3, S, S] -> features [B, channels], in parts of what its memory is planned for."""

    def __init__(self, path: Path):
        from executorch.runtime import Runtime

        self.program = Runtime.get().load_program(path)
        self.method = self.program.load_method("forward")
        self.part = self.method.metadata.input_tensor_meta(0).sizes()[0]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(np.ascontiguousarray(images)).split(self.part)
        return torch.cat([self.method.execute([part])[0].clone() for part in parts]).numpy()


def load(path: Path, threads: int = 0, device: str = "cpu") -> Program:
    """A ``.pte``. RuntimeError for other threads than those of programs that are still loaded."""
    from executorch.extension.pybindings import portable_lib

    if threads not in (0, portable_lib._threadpool_get_thread_count()):
        if LOADED:
            raise RuntimeError("ExecuTorch's threads cannot change while a program is loaded; delete it first")
        portable_lib._unsafe_reset_threadpool(threads)
    loaded = Program(path)
    LOADED.add(loaded)
    return loaded
