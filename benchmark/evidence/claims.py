"""The paper's claims as comparisons of systems, what a run of a system leaves on record, and the tables of records.

A record is one line of JSON for a (system, seed): how the training ended, accuracies and signs of collapse by width,
cost, and the machine. Tables and verdicts are computed from records alone.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmark.evidence.paired import paired
from benchmark.machine import machine
from pretrain.common.errors import UserError
from pretrain.common.files import read_lines
from pretrain.slimmable.widths import FOUR_WIDTHS
from transfer.results import read_results
from transfer.tables.figure import Figure, shown
from transfer.tables.table import Cell, Table


@dataclass(frozen=True)
class Claim:
    """comparisons: (the system that the claim puts ahead, the one behind); widths: where it says so.

    Systems are rows of configs/pretrain/claims.py. seeds: trainings of each.
    """

    text: str
    comparisons: tuple[tuple[str, str], ...]
    seeds: int = 2
    widths: tuple[float, ...] = FOUR_WIDTHS

    @property
    def systems(self) -> list[str]:
        return list(dict.fromkeys(name for pair in self.comparisons for name in pair))


CLAIMS = {
    "a": Claim("US+SimSiam needs distillation: without it (case 1) it collapses.", (("us_simsiam", "case01"),), 3),
    "b": Claim(
        "US3L is ahead of US+SimCLR and US+SimSiam at every width.",
        (("us3l", "us_simclr"), ("us3l", "us_simsiam")), 3,
    ),
    "c": Claim("US3L at 0.25 is ahead of SimCLR trained alone at 0.25.", (("us3l", "simclr_025"),), 3, (0.25,)),
    "d": Claim("Momentum targets help: case 12 is ahead of case 10.", (("case12", "case10"),)),
    "e": Claim("The head g helps: case 13 is ahead of case 12.", (("case13", "case12"),)),
    "f": Claim(
        "Dynamic sampling and group regularisation help the largest network.",
        (("us3l", "case13"), ("us3l_dynamic_only", "case13"), ("us3l_group_only", "case13")), 2, (1.0,),
    ),
    "g": Claim(
        "One optimizer step for all widths of an iteration is ahead of one after each.", (("us3l", "us3l_per_width"),)
    ),
}  # fmt: skip

# what tables read of a record
FIELDS = {
    "system": str, "seed": int, "iterations": int, "batch_size": int, "linear": dict, "knn": dict, "rank": dict,
    "pretraining_seconds": (int, float),
}  # fmt: skip
TITLES = {"linear": "Linear top-1", "knn": "kNN top-1"}


def record(system: str, seed: int, folder: Path, ended: str, facts: dict) -> dict:
    """The record of the run in ``folder``, which was evaluated below ``folder/transfer`` unless it ended early.

    facts: what else is to be said of it, e.g. its iterations.
    """
    last = read_lines(folder / "metrics.jsonl")[-1]
    results = read_results(folder / "transfer") if (folder / "transfer").is_dir() else []
    accuracies = {
        task: {f"{r['width']:g}": r["metrics"]["top1"] for r in results if r["task"] == task}
        for task in ("linear", "knn")
    }
    signs = {
        sign: {name.removesuffix(f"/{sign}"): value for name, value in last.items() if name.endswith(f"/{sign}")}
        for sign in ("rank", "spread")
    }
    return {
        "system": system, "seed": seed, "ended": ended, **accuracies, **signs,
        "pretraining_seconds": last["seconds"], **facts, "machine": machine("cpu"),
    }  # fmt: skip


def read_records(path: Path) -> list[dict]:
    """Every record of a file of one JSON a line.

    Errors: UserError for a line that is none, and for a file that mixes trainings of different lengths.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}; expected the claims.jsonl that tools/claims.py wrote")
    records = read_lines(path)
    for number, found in enumerate(records, 1):
        odd = next((key for key, kind in FIELDS.items() if not isinstance(found.get(key), kind)), None)
        if odd:
            raise UserError(f"{path}: record {number} has no '{odd}'; expected what tools/claims.py writes")
    lengths = {(r["iterations"], r["batch_size"]) for r in records}
    if len(lengths) > 1:
        raise UserError(f"{path} mixes trainings of different lengths: {sorted(lengths)}; expected one length a file")
    return records


def accuracy(records: list[dict], system: str, width: float, task: str = "linear") -> dict[int, float]:
    """Accuracy in percent by seed."""
    return {
        r["seed"]: r[task][f"{width:g}"] for r in records if r["system"] == system and f"{width:g}" in r.get(task, {})
    }


def cost(records: list[dict]) -> float | None:
    """Cost of a training in 10^12 floating-point operations, mean over records of one system; None if none says it."""
    known = [r["training_flops"] / 1e12 for r in records if "training_flops" in r]
    return statistics.fmean(known) if known else None


def system_table(records: list[dict], task: str = "linear") -> Table:
    """A row for each system that was run: seeds, accuracy at four widths, rank of the features, cost, minutes."""
    columns = [*(f"{width:g}" for width in FOUR_WIDTHS), "rank at 1", "rank at 0.25", "TFLOPs", "minutes"]
    title = f"{TITLES[task]} in percent, mean and standard deviation over seeds."
    table = Table(f"systems_{task}", title, ["system", "seeds"], columns)
    for system in dict.fromkeys(name for claim in CLAIMS.values() for name in claim.systems):
        own = [r for r in records if r["system"] == system]
        if own:
            figures = [_figure(accuracy(records, system, width, task).values()) for width in FOUR_WIDTHS]
            ranks = [_mean(r["rank"].get(width) for r in own) for width in ("1", "0.25")]
            spent = cost(own)
            costs = [Cell(f"{spent:.1f}") if spent else Cell(), _mean(r["pretraining_seconds"] / 60 for r in own)]
            table.rows.append(([system, str(len(own))], [*figures, *ranks, *costs]))
    return table


def claim_table(records: list[dict], task: str = "linear") -> Table:
    """A row for each comparison: the paired difference at each width where the claim speaks, and its verdict.

    A claim is about linear accuracy, as the paper's are; ``knn`` says whether another measure agrees.
    """
    columns = [f"{width:g}" for width in FOUR_WIDTHS]
    title = f"{TITLES[task]} in points, mean difference over paired seeds ± its standard error, and what that says."
    table = Table(f"claims_{task}", title, ["claim", "comparison", "seeds"], columns)
    for name, claim in CLAIMS.items():
        for ahead, behind in claim.comparisons:
            found = {
                width: paired(accuracy(records, ahead, width, task), accuracy(records, behind, width, task))
                for width in claim.widths
            }
            seeds = max((difference.seeds for difference in found.values() if difference), default=0)
            cells = [Cell(str(found[width])) if found.get(width) else Cell() for width in FOUR_WIDTHS]
            table.rows.append(([f"({name})", f"{ahead} − {behind}", str(seeds)], cells))
    return table


def _figure(values: Iterable[float]) -> Cell:
    known = list(values)
    if not known:
        return Cell()
    spread = statistics.stdev(known) if len(known) > 1 else None
    return Cell(shown(Figure(statistics.fmean(known), spread, len(known))))


def _mean(values: Iterable[float | None]) -> Cell:
    known = [value for value in values if value is not None]
    return Cell(f"{statistics.fmean(known):.1f}") if known else Cell()
