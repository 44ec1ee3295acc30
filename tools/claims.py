#!/usr/bin/env python
"""The paper's claims in miniature, on real images: pretrain small networks, evaluate four widths, compare by seeds.

Each row of configs/pretrain/claims.py is pretrained on 1,000 CIFAR-10 images a class and evaluated by the fast linear
protocol on the full test set. A run that was killed continues. Every run adds a line to OUTPUT/claims.jsonl, from which
claims.md and its pictures are made; what has a line there, perhaps copied from docs/claims.jsonl, is not run again.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from pretrain.common import cli
from pretrain.common.errors import CollapsedError, NonFiniteLossError, UserError, nearest
from pretrain.common.files import read_lines, read_object, write_json, write_text
from pretrain.run.allocator import restart_for_cpu

if TYPE_CHECKING:  # what imports torch is imported where it is used: --help need not wait for it
    from pretrain.config import PretrainConfig

PER_CLASS = 1000


def main(argv: list[str]) -> None:
    parser = cli.Parser(__doc__, "tools/claims.py --data datasets/cifar10_jpeg --only b c")
    parser.add_argument("--data", type=Path, help="CIFAR-10 as images: DATA/train/<class>/ and DATA/test/<class>/")
    parser.add_argument("--show", type=Path, metavar="FILE", help="run nothing: tables and picture of a claims.jsonl")
    parser.add_argument("--only", nargs="+", metavar="CLAIM", help="a to g; default: all")
    parser.add_argument("--seeds", type=int, metavar="N", help="trainings of each system (default: the claim's own)")
    parser.add_argument("--output", type=Path, default=Path("runs/claims"), help="default: runs/claims")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change settings of every pretraining")
    args = parser.parse_intermixed_args(argv)
    cli.check_least(args, seeds=1)
    if (args.data is None) == (args.show is None):
        raise UserError("expected --data DATA, to run the claims, or --show FILE, to look at what was run")
    records = args.show or args.output / "claims.jsonl"
    if args.data is not None:
        images = linked_images(args.data, args.output / "images")
        for system, config, folder in missing(args, images, records):
            run(system, config, folder, images, args.overrides)
            collect(folder / "record.json", records)
    page = write_page(records, args.output)
    print(page.read_text())
    print(page)


def runs(args: argparse.Namespace) -> list[tuple[str, int]]:
    """(system, seed) of the chosen claims, each once; first seeds first."""
    from benchmark.evidence.claims import CLAIMS

    wanted: dict[str, int] = {}
    for name in args.only or CLAIMS:
        if name not in CLAIMS:
            raise UserError(f"unknown claim '{name}'{nearest(name, CLAIMS)}")
        for system in CLAIMS[name].systems:
            wanted[system] = max(wanted.get(system, 0), args.seeds or CLAIMS[name].seeds)
    return [(system, seed) for seed in range(max(wanted.values())) for system in wanted if seed < wanted[system]]


def missing(args: argparse.Namespace, images: Path, records: Path) -> list[tuple[str, "PretrainConfig", Path]]:
    """(system, config, folder) of the chosen runs that have no line in ``records``.

    Errors: UserError, before anything is trained, where such a folder or ``records`` holds a run of another config.
    """
    from benchmark.evidence.claims import read_records

    there = {(r["system"], r["seed"]): r for r in (read_records(records) if records.is_file() else [])}
    for (system, seed), made in there.items():
        if not same_settings(made, claim_config(system, seed, images, args.overrides), args.overrides):
            raise UserError(
                f"{records} has a run of {system}, seed {seed}, by other settings; expected those, or another --output"
            )
    found = []
    for system, seed in runs(args):
        folder, config = args.output / f"{system}_seed{seed}", claim_config(system, seed, images, args.overrides)
        if (system, seed) not in there:
            record = folder / "record.json"
            if record.is_file() and not same_settings(read_object(record), config, args.overrides):
                raise UserError(f"{folder} holds a run of other settings; expected those, or another --output")
            found.append((system, config, folder))
    return found


def same_settings(made: dict, config: "PretrainConfig", overrides: list[str]) -> bool:
    """Whether a record is of ``config`` and of the same weights, whose paths a config's hash leaves out."""
    from pretrain.common.overrides import parse
    from pretrain.config import WEIGHTS

    def weights(words: list[str]) -> dict:
        return {key: path for key, path in map(parse, words) if key in WEIGHTS}

    return made.get("config") == config.hash and weights(made.get("overrides", [])) == weights(overrides)


def claim_config(system: str, seed: int, images: Path, overrides: list[str]) -> "PretrainConfig":
    """The row ``system`` of the claims' config. UserError for one that is not there."""
    from pretrain.config import load_config

    given = [f"data.root={images}", f"training.seed={seed}", *overrides]
    return load_config(f"{ROOT}/configs/pretrain/claims.py:{system}", given)


def linked_images(data: Path, folder: Path) -> Path:
    """``folder`` with links to the first ``PER_CLASS`` training images of each class, and to all test images.

    Errors: UserError where ``data`` has no images, or ``folder`` links to others than these, which nothing changes.
    """
    if not all((data / split).is_dir() for split in ("train", "test")):
        raise UserError(f"no images in {data}; expected {data}/train/<class>/ and {data}/test/<class>/")
    wanted = {folder / "test": (data / "test").resolve()}
    for theirs in sorted(p for p in (data / "train").iterdir() if p.is_dir()):
        for image in sorted(theirs.iterdir())[:PER_CLASS]:
            wanted[folder / "train" / theirs.name / image.name] = image.resolve()
    for link in (link for link in (folder / "test", *folder.glob("train/*/*")) if os.path.lexists(link)):
        if link.resolve() != wanted.get(link):
            raise UserError(
                f"{link} is of {link.resolve()}, not of {data}: {folder.parent} has runs on other images; "
                "expected their --data, or another --output"
            )
    for link, image in wanted.items():
        if not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(image)
    return folder


def run(system: str, config: "PretrainConfig", folder: Path, images: Path, overrides: list[str]) -> None:
    """Pretrain and evaluate, or as much of it as is missing. ``record.json`` says what came out."""
    from benchmark.evidence.claims import record
    from benchmark.evidence.training_cost import training_flops
    from pretrain.slimmable.widths import FOUR_WIDTHS
    from pretrain.train import pretrain
    from transfer.recognition.evaluate import evaluate
    from transfer.recognition.settings import RecognitionSettings
    from transfer.source import load_source

    if (folder / "record.json").is_file():  # of this config, see ``missing``
        return
    seed = config.training.seed
    print(f"\n{system}, seed {seed}, in {folder}", flush=True)
    ended = "complete"
    try:
        checkpoint = pretrain(config, folder, resume=True, device=cli.default_device())
        widths = [width for width in FOUR_WIDTHS if width in config.calibrated_widths]
        settings = RecognitionSettings(num_views=0)
        evaluate(load_source(checkpoint), "folder", images, widths, folder / "transfer", settings, name="cifar10")
    except (NonFiniteLossError, CollapsedError) as error:
        ended = str(error)
    resolved = json.loads((folder / "config.json").read_text())["training"]
    facts = {name: resolved[name] for name in ("iterations", "batch_size", "precision")}
    facts["training_flops"] = training_flops(config, facts["iterations"])
    found = record(system, seed, folder, ended, {**facts, "config": config.hash, "overrides": overrides})
    write_json(folder / "record.json", found)


def collect(record: Path, records: Path) -> None:
    """Add what a run left to ``records``, in the place of an earlier line of the same system and seed."""
    new = json.loads(record.read_text())
    lines = [r for r in read_lines(records) if (r["system"], r["seed"]) != (new["system"], new["seed"])]
    lines = sorted([*lines, new], key=lambda r: (r["system"], r["seed"]))
    write_text(records, "".join(json.dumps(line) + "\n" for line in lines))


def write_page(records: Path, output: Path) -> Path:
    """``claims.md`` and ``claims.svg`` in ``output``, of the records in a file."""
    from benchmark.evidence.claims import claim_table, read_records, system_table
    from benchmark.evidence.claims_figure import draw, draw_costs
    from transfer.tables import render

    found = read_records(records)
    tables = [make(found, task) for make in (system_table, claim_table) for task in ("linear", "knn")]
    output.mkdir(parents=True, exist_ok=True)
    draw(found, output / "claims.svg")
    draw_costs(found, output / "claims_cost.svg")
    page = output / "claims.md"
    write_text(page, "\n".join(render(table, "markdown") for table in tables))
    return page


if __name__ == "__main__":
    restart_for_cpu()
    cli.run(main)
