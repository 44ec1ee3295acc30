"""``tools/transfer.py coco``: Mask R-CNN on COCO, or on any data set in its layout, at one or more widths."""

import argparse
from pathlib import Path

from pretrain.cli import widths_argument
from pretrain.errors import UserError
from transfer.detection.recipe import COCO, Settings
from transfer.results import FILE_NAME, result_folder
from transfer.source import INITS, find_checkpoint, load_source

TARGETS = {"coco": "Mask R-CNN on COCO 2017, or on any data set in its layout"}
EXAMPLE = "--width 0.5 --data datasets/coco --num-gpus 8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``tools/transfer.py coco``."""
    widths_argument(parser, None)
    add = parser.add_argument
    add("--checkpoint", type=Path, metavar="U", help="universal checkpoint (default: the newest below runs/)")
    add("--init", choices=INITS, default="pretrained", help="random: the same network, not pretrained")
    add("--data", type=Path, metavar="D", help="folder in COCO's layout, or one with coco/ in it "
        "(default: coco/ in $DETECTRON2_DATASETS, or in datasets/)")  # fmt: skip
    add("--name", help="the data set's name in results (default: the folder's)")
    add("--framework", choices=("detectron2",), default="detectron2", help="what trains the detector")
    add("--config", type=Path, default=COCO, metavar="FILE", help=f"recipe (default: configs/transfer/{COCO.name})")
    add("--iterations", type=int, metavar="N", help="length of the training (default: the recipe's 90000)")
    add(
        "--image-size",
        type=int,
        metavar="S",
        help="shorter side in px; anchors and proposals scale with it (default: 800)",
    )
    add("--batch", type=int, metavar="B", help="images an iteration, in all; scales the learning rate (default: 16)")
    add("--num-gpus", type=int, default=1, metavar="G", help="processes, one for each GPU (default: 1)")
    add("--device", metavar="DEVICE", help="cuda or cpu (default: cuda where there is one)")
    add("--eval-only", action="store_true", help="evaluate the last checkpoint of the output folder")
    add("--resume", action="store_true", help="go on from the last checkpoint of the output folder")
    add("--output", type=Path, metavar="D", help="folder for results (default: transfer/ beside the checkpoint)")
    add("--seed", type=int, default=0, metavar="S", help="of weights that are not pretrained and the order of images")
    add("overrides", nargs="*", metavar="key=value", help="any value of the recipe, e.g. optimizer.lr=0.01")


def main(arguments: argparse.Namespace) -> None:
    """Train and evaluate one width after the other; prints the metrics and the path of each result."""
    from transfer.detection.detectron2 import detect

    if not arguments.widths:
        raise UserError("no width given; expected --width with one or more numbers, e.g. --width 0.5")
    checkpoint = find_checkpoint(arguments.checkpoint)
    print(f"checkpoint  {checkpoint}", flush=True)
    source = load_source(checkpoint, arguments.init, arguments.seed)
    source.check_widths(arguments.widths)  # a width that cannot be had is said before any training
    settings = Settings(
        recipe=arguments.config, data=arguments.data, iterations=arguments.iterations, image_size=arguments.image_size,
        batch=arguments.batch, num_gpus=arguments.num_gpus, device=arguments.device, seed=arguments.seed,
        resume=arguments.resume, eval_only=arguments.eval_only, overrides=tuple(arguments.overrides),
    )  # fmt: skip
    output = arguments.output or checkpoint.parent / "transfer"
    for width in arguments.widths:
        record = detect(source, width, settings, output, arguments.name)
        print(metrics_line(record))
        print(result_folder(output, record["dataset"], "detection", width, record["method"]) / FILE_NAME)


def metrics_line(record: dict) -> str:
    """``box AP 38.3 AP50 59.1 AP75 42.0, mask AP …`` of one result, with ``-`` where a metric is undefined."""

    def figure(name: str) -> str:
        value = record["metrics"][name]
        return "-" if value is None else f"{value:.2f}"

    def group(kind: str) -> str:
        return f"{kind} " + " ".join(f"{name} {figure(f'{kind}/{name}')}" for name in ("AP", "AP50", "AP75"))

    parts = [group(kind) for kind in ("box", "mask")]
    return f"width {record['width']:g} ({record['method']}): {', '.join(parts)} in {record['seconds']:.0f} s"
