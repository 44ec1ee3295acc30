#!/usr/bin/env python
"""Features of photographs at given widths as .npz or parquet files, and a page of nearest neighbours."""

import sys
from functools import partial
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.common.errors import UserError
from pretrain.run.allocator import restart_for_cpu

FORMATS = ("npz", "parquet")
LARGEST_SIDE = 32768  # px


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        "Compute the features of photographs (folders, a list, tar shards or parquet files, see docs/data.md) at some "
        "widths. The same command goes on where a killed one was.",
        "tools/embed.py photographs --width 1 0.5 --output features --neighbours 20",
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="a folder, list, tar or parquet file of images")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="of ROOT (default: train)")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="universal checkpoint (default: the newest below runs/)"
    )
    cli.widths_argument(parser, [1.0], plans=True)
    parser.add_argument("--output", type=Path, default=Path("features"), metavar="DIR", help="default: features")
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=["npz"], help="of the features (default: npz)")
    parser.add_argument("--neighbours", type=int, default=0, metavar="N", help="also a page of N photographs' nearest")
    parser.add_argument("--image-size", type=int, metavar="S", help="px (default: that of the pretraining)")
    parser.add_argument("--batch", type=int, default=256, metavar="B", help="images in a forward pass (default: 256)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that decode (default: 0)")
    parser.add_argument("--device", metavar="NAME", help="cuda or cpu (default: cuda if present)")
    args = parser.parse_args(argv)
    cli.check_least(args, image_size=1, batch=1, workers=0, neighbours=0)
    if args.image_size is not None and args.image_size > LARGEST_SIDE:
        raise UserError(f"--image-size is {args.image_size}; expected {LARGEST_SIDE} or less")
    embed(args)


def embed(args) -> None:
    from rich.console import Console
    from rich.progress import track

    from pretrain.common.devices import every
    from pretrain.data.images.layout import images_at
    from pretrain.run.ownership import owned
    from transfer.embedding.features import PARTS, Embedder, write_npz, write_parquet, write_unreadable
    from transfer.embedding.neighbours import write_page
    from transfer.source import find_checkpoint, load_source

    device, checkpoint = cli.checked_device(args.device), find_checkpoint(args.checkpoint)
    if "parquet" in args.format:
        from pretrain.data.images.parquet import parquet_module

        parquet_module()  # what is missing is said before any image is read
    source = load_source(checkpoint)
    widths = sorted(set(map(source.width, args.widths)), reverse=True)
    source.check_widths(widths)
    images = images_at(args.root, args.split, source.net.backbone.input_channels)
    if images is None:
        raise UserError(f"{args.root} has no images of the split '{args.split}'")
    size = args.image_size or source.metadata["data"]["image_size"]
    print(f"{images.found} at {size} px, width {', '.join(f'{w:g}' for w in widths)} of {checkpoint}", flush=True)
    with owned(args.output):
        watch = partial(track, disable=not Console().is_terminal)
        embedder = Embedder(
            source, images, widths, size, args.output / PARTS, every(device), args.batch, args.workers, watch
        )
        embedder.claim(args.output / "embedding.json")
        found = embedder.embed()
        if not found.paths:
            raise UserError(f"none of the images of {args.root} can be read; first: {found.unreadable[0]}")
        write = {"npz": write_npz, "parquet": write_parquet}
        paths = [write[form](found, args.output / f"features.{form}") for form in args.format]
        if found.unreadable:
            paths.append(write_unreadable(found, args.output / "unreadable.txt"))
            print(f"{len(found.unreadable):,} images cannot be read and have no features")
        if args.neighbours:
            title = f"Nearest photographs of {args.root.name}"
            paths.append(write_page(found, images, args.neighbours, args.output / "neighbours.html", title))
        embedder.clean()
    for path in paths:
        print(path)


if __name__ == "__main__":
    restart_for_cpu()
    cli.run(main)
