"""Whether a launch knows where its images lie, and whether they are there, as far as this machine can see them."""

import os
from collections.abc import Iterable
from pathlib import Path

from pretrain.common.errors import UserError
from slurm.graph import Node
from slurm.presets import Preset
from slurm.submit import on_machine


def check_data(nodes: Iterable[Node], preset: Preset) -> None:
    """A line for every folder that only the cluster's nodes may see.

    Errors: UserError for a data set without a folder, or a folder that does not hold it.
    """
    folders: dict[tuple[str, str | None], None] = {}
    for node in nodes:
        if node.kind in ("pretrain", "transfer") and node.data != "digits":  # they are embedded
            folders[node.data, folder_of(node, preset)] = None
    unknown = [name for name, folder in folders if folder is None]
    if unknown:
        wanted = " ".join(f"{name}=FOLDER" for name in unknown)
        raise UserError(f"no folder is known for {', '.join(unknown)}; expected --data {wanted}, or data in the preset")
    for name, folder in folders:
        if Path(folder).is_dir():
            if not holds(name, Path(folder)):
                raise UserError(
                    f"{folder} holds no {name}; expected the folder that tools/transfer.py --help describes"
                )
        elif preset.executor == "local":
            raise UserError(f"no such folder: {folder}; expected the root of the data set '{name}'")
        else:
            print(f"{name}: {folder} is not seen from this machine, and so not checked")


def folder_of(node: Node, preset: Preset) -> str | None:
    """Where the node's command looks for its images; None if nobody has said it."""
    command = on_machine(node, preset)
    if node.kind == "pretrain":
        roots = [word.partition("=")[2] for word in command.overrides if word.startswith("data.root=")]
        return roots[-1] if roots else node.root
    if "--data" in command.words[:-1]:
        return command.words[command.words.index("--data") + 1]
    usual = os.environ.get("DETECTRON2_DATASETS", "datasets")
    return command.options.get("--data", (usual if holds(node.data, Path(usual)) else None,))[0]


def holds(name: str, folder: Path) -> bool:
    """Whether the images of a data set lie in ``folder``, by the names of folders and files alone."""
    from pretrain.data.images.datasets import has_split
    from transfer.detection.data.coco import find_coco
    from transfer.detection.data.voc import find_voc
    from transfer.recognition.targets import SETS, find_root

    if name in ("coco", "voc"):
        try:
            return bool({"coco": find_coco, "voc": find_voc}[name](folder))
        except UserError:
            return False
    root, spec = find_root(name, folder), SETS[name]
    return (spec.folders and has_split(root, "train")) or (bool(spec.folder) and (root / spec.folder).is_dir())
