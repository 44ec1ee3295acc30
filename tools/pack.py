#!/usr/bin/env python
"""Pack images into two files a split, which every tool reads in their place; or check images before a long run."""

import argparse
import os
import sys
from collections import Counter
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console
from rich.progress import track

from pretrain.common import cli
from pretrain.common.errors import UserError
from pretrain.common.files import replacing
from pretrain.run.ownership import owned

if TYPE_CHECKING:  # what imports torch is imported where it is used: --help need not wait for it
    from pretrain.data.images.encoded import EncodedImages

SHOWN = 20  # faults of a kind that are printed; the list in a file holds all


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        "Pack the images of ROOT (folders, a list, tar shards or parquet files, see docs/data.md) into "
        "OUTPUT/<split>.pack and its index. The bytes of the files stay as they are. Name OUTPUT as data.root or "
        "--data to use it.",
        "tools/pack.py datasets/imagenet datasets/imagenet_packed",
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="a folder, list, tar or parquet file of images")
    parser.add_argument(
        "output", type=Path, nargs="?", metavar="OUTPUT", help="where to write; finished splits there are kept"
    )
    parser.add_argument(
        "--check", action="store_true",
        help="list images that are unreadable, small, of another mode or there twice, in the file OUTPUT too if given",
    )  # fmt: skip
    parser.add_argument("--image-size", type=int, default=32, metavar="S", help="px; smaller is small (default: 32)")
    workers = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=workers, metavar="N", help=f"processes (default: {workers})")
    args = parser.parse_args(argv)
    cli.check_least(args, image_size=1, workers=0)

    from pretrain.data.images.layout import SPLITS, images_at

    splits = {split: images for split in SPLITS if (images := images_at(args.root, split)) is not None}
    if not splits:
        raise UserError(
            f"no training or test images in {args.root}; expected folders of images, a list, tar shards or parquet "
            "files, see docs/data.md"
        )
    if args.check:
        check(splits, args)
        return
    if args.output is None:
        raise UserError("where to? expected OUTPUT after ROOT, or --check")
    if args.output.exists() and args.output.samefile(args.root):
        raise UserError("OUTPUT is ROOT, where a pack hides what it was made of; expected another folder")
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {args.output}: {error.strerror}; expected another OUTPUT") from None
    with owned(args.output):
        for split, images in splits.items():
            pack(images, args.root, args.output, split)
    print(args.output)


def pack(images: "EncodedImages", root: Path, output: Path, split: str) -> None:
    from pretrain.data.images.packed import holds, index_path, pack_path, write_pack

    path = pack_path(output, split)
    if holds(output, split, images):
        print(f"{split}: {path} is there already", flush=True)
        return
    if index_path(output, split).exists():
        raise UserError(f"{path} holds other images than {root}; expected another OUTPUT")
    print(f"{split}: {images.found} from {root}", flush=True)
    hidden = not Console().is_terminal
    write_pack(images, output, split, lambda indices: track(indices, description=split, disable=hidden))


def check(splits: "dict[str, EncodedImages]", args: argparse.Namespace) -> None:
    """Print what is wrong with the images, and write all of it to OUTPUT if there is one."""
    from pretrain.data.images.check import faults

    found = []
    with replacing(args.output) if args.output else nullcontext() as listed:  # refuses before any image is read
        for split, images in splits.items():
            print(f"{split}: {images.found} in {args.root}", flush=True)
            watch = partial(track, description=split, disable=not Console().is_terminal)
            found += faults(images, args.image_size, args.workers, watch)
        lines = [f"{fault.kind}\t{fault.name}\t{fault.what}" for fault in found]
        if listed:
            listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")
    counts, shown = Counter(fault.kind for fault in found), Counter()
    for fault, line in zip(found, lines):
        shown[fault.kind] += 1
        if shown[fault.kind] <= SHOWN:
            print(line)
    print(", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "nothing is wrong with these images")
    if args.output is not None:
        print(args.output)


if __name__ == "__main__":
    cli.run(main)
