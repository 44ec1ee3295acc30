"""``tools/transfer.py coco`` and ``voc``: a detector on a pretrained backbone, at one or more widths."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.common.cli import widths_argument
from pretrain.common.errors import UserError
from pretrain.common.settings import read
from pretrain.run.membership import is_main_process
from transfer.detection.settings import DetectionSettings
from transfer.results import read_result
from transfer.targets import FRAMEWORKS, INITS

if TYPE_CHECKING:  # what imports torch is imported where it is used: --help need not wait for it
    from transfer.source import Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``tools/transfer.py coco`` and ``voc``."""
    widths_argument(parser, None, plans=True)
    add = parser.add_argument
    add("--checkpoint", type=Path, metavar="U", help="universal checkpoint (default: the newest below runs/)")
    add("--init", choices=INITS, default="pretrained", help="random: the same network, not pretrained")
    add("--weights", type=Path, metavar="FILE", help="instead of --checkpoint: any ResNet (18, 34, 50, 101) with "
        "torchvision's names, .pth or .safetensors")  # fmt: skip
    add("--weights-name", metavar="NAME", help="method of --weights in results (default: the file's name)")
    add("--data", type=Path, metavar="D", help="coco: folder with annotations/, or one with coco/ in it; voc: one with "
        "VOC2007/ or VOCdevkit/ in it (default: $DETECTRON2_DATASETS, or datasets/)")  # fmt: skip
    add("--name", help="the data set's name in results (default: the folder's)")
    add("--framework", choices=tuple(FRAMEWORKS), default=next(iter(FRAMEWORKS)), help="what trains the detector")
    add("--config", type=Path, metavar="FILE", help="recipe (default: the target's in configs/transfer/)")
    add("--iterations", type=int, metavar="N", help="length of the training (default: the recipe's, 90000 for coco and "
        "24000 for voc with its batch of 16; a smaller batch trains longer)")  # fmt: skip
    add("--image-size", type=int, metavar="S", help="shorter side in px; anchors and proposals scale with it "
        "(default: the recipe's)")  # fmt: skip
    add("--batch", type=int, metavar="B", help="images an iteration, in all; learning rate, iterations and warm-up "
        "follow it (default: 2 for each process)")  # fmt: skip
    add("--num-gpus", type=int, default=1, metavar="G", help="processes, one for each GPU (default: 1); under SLURM or "
        "torchrun their number is the tasks'")  # fmt: skip
    add("--device", metavar="DEVICE", help="cuda or cpu (default: cuda where there is one)")
    add("--eval-only", action="store_true", help="evaluate the last checkpoint of the output folder")
    add("--boxes-only", action="store_true", help="Faster R-CNN on COCO's boxes (chosen where there are no masks)")
    add("--trust", action="store_true", help="read initial weights (train.init_checkpoint) that may run code")
    add("--resume", action="store_true", help="go on from the last checkpoint of the output folder")
    add("--output", type=Path, metavar="D", help="folder for results (default: transfer/ beside the checkpoint)")
    add("--seed", type=int, default=0, metavar="S", help="of weights that are not pretrained and the order of images")
    add("overrides", nargs="*", metavar="key=value", help="any value of the recipe, e.g. optimizer.lr=0.01")


def example(target: str) -> str:
    """Options that train on ``target``."""
    return "--width 0.5 --data datasets --num-gpus 8"


def settings(arguments: argparse.Namespace) -> DetectionSettings:
    """What the options say of the training, whatever trains. Errors: UserError for numbers that are not positive."""
    values = dict(
        target=arguments.target, recipe=arguments.config, data=arguments.data, iterations=arguments.iterations,
        image_size=arguments.image_size, batch=arguments.batch, num_gpus=arguments.num_gpus, device=arguments.device,
        seed=arguments.seed, resume=arguments.resume, eval_only=arguments.eval_only,
        overrides=tuple(arguments.overrides), framework=arguments.framework, boxes_only=arguments.boxes_only,
        trust=arguments.trust,
    )  # fmt: skip
    return read(DetectionSettings, values)


def main(arguments: argparse.Namespace) -> None:
    """Train and evaluate one width after the other; prints the metrics and the path of each result."""
    from transfer.detection.detect import detected

    source, origin, widths = find_source(arguments)
    output = arguments.output or origin.parent / "transfer"
    for width in widths:
        path = detected(source, width, arguments.settings, output, arguments.name)
        if is_main_process():
            print(metrics_line(read_result(path)))
            print(path)


def find_source(arguments: argparse.Namespace) -> tuple["Source", Path, list[float]]:
    """The weights that the options name, their file, and the widths, all checked before any training."""
    from transfer.source import find_checkpoint, load_source
    from transfer.weights import load_weights

    if arguments.weights_name and not arguments.weights:
        raise UserError("--weights-name without --weights; expected the file that it names")
    if arguments.weights:
        if arguments.checkpoint or arguments.init != "pretrained":
            raise UserError("--weights beside --checkpoint or --init; expected one of them")
        source, origin = load_weights(arguments.weights, arguments.weights_name), arguments.weights
    else:
        if not arguments.widths:
            raise UserError("no width given; expected --width with one or more numbers, e.g. --width 0.5")
        origin = find_checkpoint(arguments.checkpoint)
        source = load_source(origin, arguments.init, arguments.seed)
    if is_main_process():
        print(f"{'weights' if arguments.weights else 'checkpoint':12}{origin}", flush=True)
    widths = list(map(source.width, arguments.widths or source.default_widths))
    source.check_widths(widths)
    return source, origin, widths


def metrics_line(record: dict) -> str:
    """``box AP 38.3 AP50 59.1 AP75 42.0, mask AP …`` of one result, with ``-`` where a metric is undefined."""

    def figure(name: str) -> str:
        value = record["metrics"][name]
        return "-" if value is None else f"{value:.2f}"

    def group(kind: str) -> str:
        return f"{kind} " + " ".join(f"{name} {figure(f'{kind}/{name}')}" for name in ("AP", "AP50", "AP75"))

    parts = [group(kind) for kind in ("box", "mask") if f"{kind}/AP" in record["metrics"]]
    width = record["details"].get("plan", f"{record['width']:g}")
    return f"width {width} ({record['method']}): {', '.join(parts)} in {record['seconds']:.0f} s"
