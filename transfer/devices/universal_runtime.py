"""One file, every width at run time: the width is an argument of each call, by any runtime.

torch's networks of all widths are views of one set of weights. Other runtimes read a file of their own for each width,
which is written when the width is first asked for; the ``most`` that were used last are kept.
"""

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from pretrain.common.errors import UserError
from transfer.convert import convert, of_width, require
from transfer.devices.variants import chosen
from transfer.runtimes import RUNTIMES
from transfer.source import find_checkpoint, load_source
from transfer.validation import Run, torch_run


class Answer(NamedTuple):
    """scores: [B, classes] of each image by the width that answered it. wide: bool [B], where that was the wide one."""

    scores: np.ndarray
    wide: np.ndarray


class UniversalRuntime:
    """``runtime(images, width)``: normalised images, float32 [B, C, S, S] -> features [B, c(width)].

    path: of a universal checkpoint. name: of ``transfer.runtimes``. image_size: of the files, by default that of
    pretraining (torch takes any). threads: of the runtime. most: sessions that are kept, of any but torch. It may be
    called by several threads at once.
    Errors: UserError for a runtime that is unknown or not installed; for a width, those of the checkpoint.

    Example::

        runtime = UniversalRuntime("runs/demo/pretrain", "openvino")
        features = runtime(images, 0.5)
    """

    def __init__(
        self, path: str | Path, name: str = "torch", image_size: int | None = None, threads: int = 1, most: int = 4
    ):
        [self.name] = chosen([name])
        if most < 1:
            raise UserError(f"most is {most}; expected 1 session or more")
        require(RUNTIMES[name])
        self.source = load_source(find_checkpoint(path))
        self.image_size = image_size or self.source.metadata["data"]["image_size"]
        self.threads, self.most = threads, most
        self._sessions: OrderedDict[str, Run] = OrderedDict()
        self._files: dict[float, Path] = {}
        self._scratch = tempfile.TemporaryDirectory()
        self._lock = threading.Lock()

    @property
    def widths(self) -> list[float]:
        """Those that can be used, widest first."""
        return self.source.net.calibrated_widths

    @property
    def sessions(self) -> int:
        """How many networks are kept."""
        return len(self._sessions)

    def __call__(self, images: np.ndarray, width: float) -> np.ndarray:
        return self._session(width)(images)

    def cascade(
        self, images: np.ndarray, heads: dict[float, Callable[[np.ndarray], np.ndarray]], narrow: float, wide: float,
        confidence: float,
    ) -> Answer:  # fmt: skip
        """The narrow network answers; images of which it is less sure than ``confidence`` are asked of the wide one.

        heads: width -> features [B, D] to logits [B, classes]. Sure is the largest probability (softmax).
        """
        scores = heads[narrow](self(images, narrow)).copy()
        unsure = probabilities(scores).max(axis=1) < confidence
        if unsure.any():
            scores[unsure] = heads[wide](self(images[unsure], wide))
        return Answer(scores, unsure)

    def _session(self, width: float) -> Run:
        net = self.source.net
        net.moments(width)  # its error names the widths that can be used
        key = net.backbone.channels(width).key
        with self._lock:  # one thread makes a session, the others wait for it
            if key not in self._sessions:
                self._sessions[key] = self._made(width)
            self._sessions.move_to_end(key)
            while self.name != "torch" and len(self._sessions) > self.most:
                self._sessions.popitem(last=False)
            return self._sessions[key]

    def _made(self, width: float) -> Run:
        net = self.source.net
        if self.name == "torch":
            return torch_run(net.extract(width, share=True))
        folder = Path(self._scratch.name) / f"width_{width:g}"
        if width not in self._files:
            said = {**of_width(net, width), "export_size": self.image_size}
            self._files[width] = convert(net.extract(width), RUNTIMES[self.name], folder, said)[0]
        run = import_module(f"transfer.runtimes.{self.name}").load(self._files[width], self.threads)
        return run if self.name == "onnxruntime" else locked(run)


def locked(run: Run) -> Run:
    """One call at a time: OpenVINO's, ExecuTorch's and ncnn's loaders keep the memory of a call in the session."""
    lock = threading.Lock()

    def one(images: np.ndarray) -> np.ndarray:
        with lock:
            return run(images)

    return one


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last dimension."""
    return torch.from_numpy(scores).double().softmax(dim=-1).numpy()
