"""Where the weights of an evaluation come from: a universal checkpoint, or its architecture with random weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import BatchNorm2d

from pretrain.common.errors import UncalibratedWidthError, UserError, nearest
from pretrain.slimmable.extract import extract
from pretrain.slimmable.widths import check_width
from pretrain.universal import FILE_NAME
from pretrain.universal.hub import fetched, is_hub
from transfer.results import result_folder
from transfer.targets import INITS

if TYPE_CHECKING:
    from pretrain import UniversalNetwork


@dataclass
class Source:
    """net: a UniversalNetwork. method: the pretraining's name, or ``random``. checkpoint_hash: None for random.

    path: of the checkpoint, where there is one. told: what the weights say of their pretraining, where they are not of
    the checkpoint whose architecture and metadata ``net`` has.
    """

    net: "UniversalNetwork"
    method: str
    checkpoint_hash: str | None
    path: Path | None = None
    told: dict | None = None

    @property
    def is_random(self) -> bool:
        return self.checkpoint_hash is None

    @property
    def backbone(self) -> str:
        """The backbone's name, e.g. ``resnet18``."""
        return self.net.metadata["backbone"]["name"]

    @property
    def architecture(self) -> dict:
        """The arguments of ``create_backbone``."""
        return dict(self.net.metadata["backbone"])

    def width(self, given: float | str) -> float:
        """``given``, or the plan by stage that it names; see ``UniversalNetwork.width``."""
        return self.net.width(given)

    def check_widths(self, widths: list[float]) -> None:
        """After it every width can be used: one without statistics gets them, in memory, if its data are there.

        Errors: UserError for a width outside the range; UncalibratedWidthError, which names the command, where the
        statistics of a pretrained width are missing and cannot be had.
        """
        for width in widths:
            check_width(width, *self.net.width_range)
        missing = [width for width in widths if not self.is_random and not self.net.is_calibrated(width)]
        if missing and self.path is None:
            self.net.moments(missing[0])
        elif missing:
            self._calibrate(missing)

    def _calibrate(self, widths: list[float]) -> None:
        from pretrain.recalibrate import pretraining_batches, recalibrate

        named = " ".join(f"{width:g}" for width in widths)
        try:
            batches = pretraining_batches(self.net, self.path.parent)
        except UserError as error:
            known = ", ".join(f"{width:g}" for width in self.net.calibrated_widths) or "none"
            raise UncalibratedWidthError(
                f"width {named} is not calibrated; calibrated widths: {known}; expected one of them, or first: "
                f"tools/calibrate.py {self.path} --widths {named} --data FOLDER ({error})"
            ) from None
        data = f"{batches.count} batches of {batches.batch_size} images of {self.metadata['data']['name']}"
        print(f"width {named} is not in the checkpoint: calibrating it on pretraining's {data}", flush=True)
        recalibrate(self.net, widths, batches)

    @property
    def metadata(self) -> dict:
        """The checkpoint's: ``mean`` and ``std`` of RGB images in [0, 1], and more."""
        return self.net.metadata

    @property
    def default_widths(self) -> list[float]:
        """What is evaluated where no width is given: none, a universal checkpoint has many."""
        return []

    def plain(self, width: float) -> torch.nn.Module:
        """The plain network of ``width``, cut out of the universal one and calibrated.

        Random weights are cut out alike, so that a seed means one network, whatever is learned on top of it; where
        nothing calibrated them, batch norms have the statistics that new ones have.
        """
        self.check_widths([width])
        if not self.is_random or self.net.is_calibrated(width):
            return self.net.extract(width)
        channels = self.net.backbone.channels(width)
        modules = self.net.backbone.plain(channels).named_modules()
        untouched = {name: (m.running_mean, m.running_var) for name, m in modules if isinstance(m, BatchNorm2d)}
        return extract(self.net.backbone, channels, untouched)

    def folder(self, output: Path, dataset: str, task: str, width: float) -> Path:
        """Where a result goes: ``output/<dataset>/<task>/width_<w>[_random]``."""
        return result_folder(output, dataset, task, width, self.method)

    @property
    def pretraining(self) -> dict | None:
        """What the weights say of their training, a checkpoint its whole metadata; None for random weights."""
        return None if self.is_random else dict(self.net.metadata if self.told is None else self.told)


def find_checkpoint(path: Path | None, runs: Path = Path("runs")) -> Path:
    """``path`` (a file, a run folder that holds one, or ``hf://owner/name``), or the newest
    ``runs/**/universal.safetensors`` if None."""
    if path is not None and is_hub(path):
        return fetched(path)
    if path is not None:
        path = Path(path)
        candidate = path / FILE_NAME if path.is_dir() else path
        if candidate.is_file():
            return candidate
        valid = [str(found) for found in Path(runs).rglob(FILE_NAME)]
        raise UserError(f"no universal checkpoint at {candidate}{nearest(str(candidate), valid) if valid else ''}")
    found = list(Path(runs).rglob(FILE_NAME))
    if not found:
        raise UserError(f"no {FILE_NAME} below {runs}/; pretrain first (tools/pretrain.py), or give --checkpoint")
    return max(found, key=lambda file: (file.stat().st_mtime_ns, str(file)))


def load_source(checkpoint: Path, init: str = "pretrained", seed: int = 0) -> Source:
    """init ``pretrained``: the checkpoint's weights; ``random``: its architecture with weights drawn by ``seed``."""
    from pretrain import load_universal

    if init not in INITS:
        raise UserError(f"unknown init '{init}'{nearest(init, INITS)}")
    net = load_universal(checkpoint)
    if init == "random":
        return Source(net.reinitialised(seed), "random", None)
    return Source(net, net.metadata["method"], net.hash, Path(checkpoint))
