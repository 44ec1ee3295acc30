#!/usr/bin/env python
"""The whole pipeline on embedded data, from images to a table of accuracy and AP against width, in some minutes."""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from pretrain.common import cli
from pretrain.common.files import write_text
from pretrain.run.allocator import restart_for_cpu
from pretrain.slimmable.widths import FOUR_WIDTHS

DETECTION_WIDTHS = [1.0, 0.25]


def main(argv: list[str]) -> None:
    parser = cli.Parser(__doc__, "tools/demo.py --output runs/demo")
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="default: runs/demo")
    parser.add_argument("--detection-iterations", type=int, metavar="N", help="default: the recipe's")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change settings of the pretraining")
    demonstrate(parser.parse_intermixed_args(argv))


def demonstrate(args: argparse.Namespace) -> None:
    """Every step of the pipeline; a pretraining that the folder holds is continued, the rest is done anew."""
    from pretrain.config import load_config
    from pretrain.train import pretrain
    from transfer.convert import convert
    from transfer.detection.data.scenes import make_scenes
    from transfer.detection.detect import detect
    from transfer.detection.settings import DetectionSettings
    from transfer.plots import plot
    from transfer.recipes import FOLDERS
    from transfer.recognition.evaluate import evaluate
    from transfer.recognition.settings import RecognitionSettings
    from transfer.results import read_results
    from transfer.source import INITS, load_source
    from transfer.tables import build, render

    output, started = args.output, time.perf_counter()

    def step(number: int, title: str) -> None:
        print(f"\n[{number}/5, {time.perf_counter() - started:.0f} s] {title}", flush=True)

    step(1, "pretrain US3L on scikit-learn's digits: one training for all widths")
    config = load_config(ROOT / "configs/pretrain/us3l_resnet18_digits.py", args.overrides)
    checkpoint = pretrain(config, output / "pretrain", resume=True, device=cli.default_device())

    step(2, "cut a plain backbone out of the universal checkpoint at each width, for detectron2")
    source = load_source(checkpoint)
    for width in FOUR_WIDTHS:
        folder = output / "converted" / f"width_{width:g}"
        print(*convert(source.net.extract(width), "detectron2", folder, source.net.metadata), sep="  ")

    step(3, "linear and kNN accuracy on digits, pretrained and with random weights")
    results = output / "transfer"
    for init in INITS:
        evaluate(
            load_source(checkpoint, init), "digits", None, list(FOUR_WIDTHS), results, RecognitionSettings(num_views=0)
        )

    step(4, "Mask R-CNN on digit scenes, pretrained and from random weights")
    scenes = make_scenes(output / "digit_scenes")
    settings = DetectionSettings(
        recipe=FOLDERS["detectron2"] / "mask_rcnn_fpn_digits.py", data=scenes, iterations=args.detection_iterations
    )
    for width in DETECTION_WIDTHS:
        for init in INITS:
            detect(load_source(checkpoint, init), width, settings, results, "digit_scenes")

    step(5, "table and plot")
    records = read_results(results)
    table = render(build("widths", records), "markdown")
    write_text(output / "table.md", table)
    print(table)
    print(f"pretrained once in {output / 'pretrain'}, universal checkpoint: {checkpoint}")
    print(f"results: {results}/**/result.json, table: {output / 'table.md'}, plots:", *plot(records, output))
    print(f"{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    restart_for_cpu()
    cli.run(main)
