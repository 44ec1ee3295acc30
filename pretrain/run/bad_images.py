"""The images that a run could not read: named in bad_images.txt, counted, and too many of them end the run."""

from pathlib import Path

import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.common.errors import BadImageError, UserError
from pretrain.common.files import write_text
from pretrain.run.distributed import World

FILE = "bad_images.txt"


class BadImages:
    """Collects indices of unreadable images; ``report`` names new ones, in all processes at the same iteration.

    share: of the data set's images, above which ``report`` raises UserError; unless it is 0, one bad image is allowed.
    A resumed run goes on with the file.
    """

    def __init__(self, dataset: Dataset, share: float, work_dir: Path, world: World):
        self.dataset, self.path, self.world = dataset, work_dir / FILE, world
        self.allowed = max(1, int(share * len(dataset))) if share > 0 else 0
        self.new: set[int] = set()
        self.told: dict[str, str] = {}
        if self.path.is_file():
            lines = self.path.read_text("utf-8", "surrogateescape").splitlines()
            self.told = dict(line.split("\t", 1) for line in lines if "\t" in line)

    def add(self, indices: Tensor) -> None:
        self.new.update(indices.tolist())

    def report(self) -> None:
        """Say and write what is new. UserError for more than ``allowed``."""
        found = [self.new]
        if self.world.size > 1:
            found = [set()] * self.world.size
            dist.all_gather_object(found, self.new)
        new = {self.dataset.name(index): index for index in sorted(set().union(*found))}
        new = {name: index for name, index in new.items() if name not in self.told}
        self.new = set()
        if not new:
            return
        self.told |= {name: self._reason(index) for name, index in new.items()}
        if self.world.is_main:
            for name in list(new)[:5]:
                print(f"{self.told[name]}; the next image takes its place", flush=True)
            print(f"{len(self.told)} unreadable image{'s' * (len(self.told) > 1)} so far, see {self.path}", flush=True)
            write_text(self.path, "".join(f"{name}\t{reason}\n" for name, reason in self.told.items()))
        if len(self.told) > self.allowed:
            raise UserError(
                f"{len(self.told)} images of {len(self.dataset)} cannot be read, listed in {self.path}; "
                f"data.max_bad allows {self.allowed}; mend or remove them, or raise data.max_bad"
            )

    def _reason(self, index: int) -> str:
        try:
            self.dataset[index]
        except BadImageError as error:
            return " ".join(str(error).split())
        return f"{self.dataset.name(index)} could not be read, and can be now"
