"""Whether a launch knows where its images lie, and whether they are there, as far as this machine can see them."""

from collections.abc import Iterable
from pathlib import Path

from pretrain.common.errors import UserError
from slurm.grid.graph import Node
from slurm.presets import Preset
from slurm.submit import on_machine
from transfer.targets import TARGETS, data_root


def check_data(nodes: Iterable[Node], preset: Preset) -> None:
    """Print a line for every folder that only the cluster's nodes may see.

    Errors: UserError for a data set without a folder, or a folder that does not hold it. A data set of somebody's own
    may need none, and only that function knows what it holds.
    """
    read = [node for node in nodes if node.kind in ("pretrain", "transfer") and node.data != "digits"]  # embedded
    found = dict.fromkeys((node.data, folders_of(node, preset)) for node in read)
    unknown = dict.fromkeys(name for name, folders in found if not folders and name in TARGETS)
    if unknown:
        wanted = " ".join(f"{name}=FOLDER" for name in unknown)
        raise UserError(f"no folder is known for {', '.join(unknown)}; expected --data {wanted}, or data in the preset")
    for name, folder in dict.fromkeys((name, Path(folder)) for name, folders in found for folder in folders):
        if folder.is_dir() and name in TARGETS and not holds(name, folder):
            raise UserError(f"{folder} holds no {name}; expected the layout that tools/transfer.py --help tells")
        if not folder.exists() and preset.executor == "local":
            raise UserError(f"no such folder: {folder}; expected the root of the data set '{name}'")
        if not folder.exists():
            print(f"{name}: {folder} is not seen from this machine, and so not checked")


def folders_of(node: Node, preset: Preset) -> tuple[str, ...]:
    """Where the node's command looks for its images; none if nobody has said it."""
    command, given = on_machine(node, preset), preset.data.get(node.data)
    if node.kind == "pretrain":
        return node.roots if given is None or node.command.sets("data.root") else (given,)
    if "--data" in command.words[:-1]:
        return (command.words[command.words.index("--data") + 1],)
    usual = data_root()
    return command.options.get("--data", (str(usual),) if holds(node.data, usual) else ())


def holds(name: str, folder: Path) -> bool:
    """Whether a folder looks like the root of a data set, by the names in it alone."""
    # with torch, which --help need not wait for
    from pretrain.data.images.layout import has_split
    from transfer.recognition.targets import find_root

    reader = TARGETS[name].reader
    if TARGETS[name].kind == "detection":
        try:
            return bool(reader.name_of(folder))
        except UserError:
            return False
    files = getattr(reader.SET, "folder", None)
    if files is None:  # of the many layouts that pretraining reads
        return folder.is_dir() and any(folder.iterdir())
    root = find_root(name, folder)
    return has_split(root, "train") or (root / files).is_dir()
