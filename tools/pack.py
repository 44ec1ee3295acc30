#!/usr/bin/env python
"""Pack an image folder into two files a split, which every tool reads in its place."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console
from rich.progress import track

from pretrain.common import cli
from pretrain.common.errors import UserError
from pretrain.data.images.datasets import image_folder
from pretrain.data.images.files import FolderImages
from pretrain.data.images.packed import holds, index_path, pack_path, write_pack
from pretrain.run.ownership import owned


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        "Pack the images of ROOT/{train,test|val}/<class>/ into OUTPUT/<split>.pack and its index. The bytes of the "
        "files stay as they are. Name OUTPUT as data.root or --data to use it.",
        "tools/pack.py datasets/imagenet datasets/imagenet_packed",
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="an image folder")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="where to write; finished splits there are kept")
    args = parser.parse_args(argv)
    folders = {split: image_folder(args.root, split) for split in ("train", "test")}
    if not any(folders.values()):
        raise UserError(f"no 'train', 'test' or 'val' folder in {args.root}; expected {args.root}/train/<class>/*.jpg")
    sources = {split: FolderImages(folder) for split, folder in folders.items() if folder is not None}
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {args.output}: {error.strerror}; expected another OUTPUT") from None
    with owned(args.output):
        for split, source in sources.items():
            pack(source, args.output, split)
    print(args.output)


def pack(source: FolderImages, output: Path, split: str) -> None:
    path = pack_path(output, split)
    if holds(output, split, source):
        print(f"{split}: {path} is there already", flush=True)
        return
    if index_path(output, split).exists():
        raise UserError(f"{path} holds other images than {source.root}; expected another OUTPUT")
    print(f"{split}: {len(source)} images of {len(source.classes)} classes from {source.root}", flush=True)
    hidden = not Console().is_terminal
    write_pack(source, output, split, lambda indices: track(indices, description=split, disable=hidden))


if __name__ == "__main__":
    cli.run(main)
