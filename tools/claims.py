#!/usr/bin/env python
"""The paper's claims in miniature, on real images: pretrain small networks, evaluate four widths, write the table.

Each row of configs/pretrain/claims.py is pretrained on 1,000 CIFAR-10 images a class and evaluated by the fast linear
protocol on the full test set. What is there already is not run again, and a run that was killed continues.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from pretrain.common import cli
from pretrain.common.errors import CollapsedError, NonFiniteLossError, UserError
from pretrain.common.files import read_lines, write_json, write_text
from pretrain.run.allocator import restart_for_cpu
from pretrain.slimmable.widths import FOUR_WIDTHS
from transfer.results import read_results
from transfer.tables import render
from transfer.tables.facts import figure, shown
from transfer.tables.table import Cell, Table

PER_CLASS = 1000


class Claim(NamedTuple):
    text: str
    systems: tuple[str, ...]
    seeds: int


CLAIMS = {
    "a": Claim("US+SimSiam collapses without distillation (case 1), not with it (case 2)", ("case01", "us_simsiam"), 2),
    "b": Claim("US3L is ahead of US+SimCLR and US+SimSiam at every width", ("us3l", "us_simclr", "us_simsiam"), 2),
    "c": Claim("US3L at 0.25 is ahead of SimCLR trained alone at 0.25", ("us3l", "simclr_025"), 2),
    "f": Claim(
        "dynamic sampling and group regularisation help at 1.0",
        ("case13", "us3l_dynamic_only", "us3l_group_only", "us3l"), 1,
    ),
    "g": Claim("one optimizer step per iteration against one per width", ("us3l", "us3l_per_width"), 1),
    "d": Claim("momentum targets help (case 12 against 10)", ("case10", "case12"), 1),
    "e": Claim("the head g helps (case 13 against 12)", ("case12", "case13"), 1),
}  # fmt: skip


def main(argv: list[str]) -> None:
    parser = cli.Parser(__doc__, "tools/claims.py --data datasets/cifar10_jpeg --only b c")
    parser.add_argument(
        "--data", type=Path, required=True, help="CIFAR-10 as images: DATA/train/<class>/ and DATA/test/<class>/"
    )
    parser.add_argument("--only", nargs="+", metavar="CLAIM", default=list(CLAIMS), help=f"of {' '.join(CLAIMS)}")
    parser.add_argument("--seeds", type=int, metavar="N", help="trainings of each system (default: the claim's own)")
    parser.add_argument("--output", type=Path, default=Path("runs/claims"), help="default: runs/claims")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change settings of every pretraining")
    args = parser.parse_intermixed_args(argv)
    for name in args.only:
        if name not in CLAIMS:
            raise UserError(f"unknown claim '{name}'; expected some of {' '.join(CLAIMS)}")
    images = linked_images(args.data, args.output / "images")
    for system, seed in runs(args):
        folder = args.output / f"{system}_seed{seed}"
        run(system, seed, folder, images, args.overrides)
        write_table(args.output)
    print(write_table(args.output).read_text())
    print(args.output / "claims.md")


def runs(args: argparse.Namespace) -> list[tuple[str, int]]:
    """(system, seed) of the chosen claims, each once; first seeds first."""
    wanted = {}
    for name in args.only:
        for system in CLAIMS[name].systems:
            wanted[system] = max(wanted.get(system, 0), args.seeds or CLAIMS[name].seeds)
    return [(system, seed) for seed in range(max(wanted.values())) for system in wanted if seed < wanted[system]]


def linked_images(data: Path, folder: Path) -> Path:
    """``folder`` with links to the first ``PER_CLASS`` training images of each class, and to all test images."""
    if not all((data / split).is_dir() for split in ("train", "test")):
        raise UserError(f"no images in {data}; expected {data}/train/<class>/ and {data}/test/<class>/")
    for source in sorted(p for p in (data / "train").iterdir() if p.is_dir()):
        target = folder / "train" / source.name
        target.mkdir(parents=True, exist_ok=True)
        for image in sorted(source.iterdir())[:PER_CLASS]:
            if not (target / image.name).exists():
                (target / image.name).symlink_to(image.resolve())
    if not (folder / "test").exists():
        (folder / "test").symlink_to((data / "test").resolve())
    return folder


def run(system: str, seed: int, folder: Path, images: Path, overrides: list[str]) -> None:
    """Pretrain and evaluate, or as much of it as is missing. ``outcome.json`` says how the training ended."""
    from pretrain.config import load_config
    from pretrain.configfile import Address
    from pretrain.train import pretrain
    from transfer.recognition.evaluate import evaluate
    from transfer.recognition.settings import Settings
    from transfer.source import load_source

    if (folder / "outcome.json").is_file():
        return
    started = time.time()
    print(f"\n{system}, seed {seed}, in {folder}", flush=True)
    address = Address(ROOT / "configs/pretrain/claims.py", system)
    config = load_config(address, [f"data.root={images}", f"training.seed={seed}", *overrides])
    ended = "complete"
    try:
        checkpoint = pretrain(config, folder, resume=True, device=cli.default_device())
        widths = [width for width in FOUR_WIDTHS if width in config.calibrated_widths]
        evaluate(
            load_source(checkpoint), "folder", images, widths, folder / "transfer", Settings(views=0), name="cifar10"
        )
    except (NonFiniteLossError, CollapsedError) as error:
        ended = str(error)
    seconds = read_lines(folder / "metrics.jsonl")[-1]["seconds"]
    outcome = {"system": system, "seed": seed, "ended": ended, "pretraining_seconds": seconds,
               "evaluation_seconds": round(time.time() - started - seconds, 1)}  # fmt: skip
    write_json(folder / "outcome.json", outcome)


def write_table(output: Path) -> Path:
    """A table for each claim of what has been run so far, as ``claims.md``."""
    folders = {}
    for path in sorted(output.glob("*_seed*/outcome.json")):
        folders.setdefault(json.loads(path.read_text())["system"], []).append(path.parent)
    parts = []
    for name, claim in CLAIMS.items():
        columns = [*(f"{width:g}" for width in FOUR_WIDTHS), "rank at 1", "rank at 0.25", "minutes"]
        table = Table(f"claim_{name}", f"({name}) {claim.text}.", ["system", "seeds"], columns)
        for system in claim.systems:
            here = folders.get(system, [])
            table.rows.append(([system, str(len(here))], [*accuracies(here), *last_metrics(here)]))
        parts.append(render(table, "markdown"))
    return write_text(output / "claims.md", "\n".join(parts))


def accuracies(folders: list[Path]) -> list[Cell]:
    records = [r for folder in folders for r in (read_results(folder) if (folder / "transfer").is_dir() else [])]
    linear = [record for record in records if record["task"] == "linear"]
    return [Cell(shown(figure((r for r in linear if r["width"] == width), "top1"))) for width in FOUR_WIDTHS]


def last_metrics(folders: list[Path]) -> list[Cell]:
    """Effective ranks at the end and minutes of pretraining, means over seeds."""
    lines = [read_lines(folder / "metrics.jsonl")[-1] for folder in folders]

    def mean(name: str, scale: float = 1) -> Cell:
        values = [line[name] * scale for line in lines if name in line]
        return Cell(f"{sum(values) / len(values):.1f}") if values else Cell()

    return [mean("1/rank"), mean("0.25/rank"), mean("seconds", 1 / 60)]


if __name__ == "__main__":
    restart_for_cpu()
    cli.run(main)
