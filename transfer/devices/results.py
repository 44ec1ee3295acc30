"""Latencies as result.json files, one for each width and runtime, and back."""

import json
from dataclasses import asdict
from pathlib import Path

from pretrain.slimmable.widths import Plan
from transfer.devices.latency import Latency, Timing
from transfer.results import Result, named, result_folder, settings_hash
from transfer.source import Source
from transfer.validation import Validation

TASK = "device"


def write_results(found: list[Latency], where: dict, source: Source, seen: Validation, output: Path) -> list[Path]:
    """The paths of the files, OUTPUT/<dataset>/device/width_<w>/<runtime>/<digest>/result.json. where: ``conditions``.

    seen: the images that accuracies are of. The folder's digest is of the checkpoint, its statistics, the images and
    the conditions, so that only the same measurement, done again, takes an earlier one's place.
    """
    asked = {key: value for key, value in where.items() if key != "load"}
    dataset, paths = seen.name, []
    for row in found:
        method, plan = named(source.method, row.width)
        for variant, timings in row.timings.items():
            details = {
                "runtime": variant, "protocol": "kNN on validation images", "image_size": where["image_size"],
                "latency": {str(batch): asdict(timing) for batch, timing in timings.items()},
                "bytes": row.sizes[variant], "peak_memory": row.memory[variant], "conditions": where,
                "images": seen.digest, "architecture": source.architecture, "pretraining": source.pretraining,
                "calibration": source.net.calibration_of(row.width) or None, **plan,
            }  # fmt: skip
            seconds = sum(timing.median for timing in timings.values()) / 1e3
            result = Result(
                task=TASK, dataset=dataset, method=method, backbone=source.backbone, width=row.width, seed=0,
                metrics={"top1": row.top1[variant]}, params=row.params, macs=row.macs,
                checkpoint=source.checkpoint_hash, seconds=seconds, details=details,
                config=settings_hash({"task": TASK, "dataset": dataset, "runtime": variant, "conditions": asked}),
            )  # fmt: skip
            folder = result_folder(output, dataset, TASK, row.width, source.method) / variant.replace(" ", "_")
            paths.append(result.write(folder / settings_hash(_identity(asdict(result)))[:10]))
    return paths


def _identity(record: dict) -> dict:
    """What tells a measurement from others of its width and runtime: of it are folders' names and reports' groups."""
    details = record["details"]
    of = {"checkpoint": record["checkpoint"], "conditions": settled(details["conditions"])}
    return of | {name: details.get(name) for name in ("architecture", "calibration", "images")}


def settled(conditions: dict) -> dict:
    """The conditions without what differs between one measurement and the next, and without versions of programs."""
    return {key: value for key, value in conditions.items() if key not in ("load", "versions")}


def latencies(records: list[dict]) -> list[tuple[str, dict, list[Latency]]]:
    """(backbone and data, conditions, widths with all runtimes, widest first) for each machine, setting and network.

    Widths whose statistics were estimated on other images are a group of their own.
    """
    groups: dict[str, list[dict]] = {}
    for record in records:
        if record["task"] == TASK:
            groups.setdefault(_group(record), []).append(record)
    return [(_title(group[0]), _merged(group), _rows(group)) for group in groups.values()]


def _title(record: dict) -> str:
    dataset, data = record["dataset"], (record["details"].get("calibration") or {}).get("data")
    return f"{record['backbone']} on {dataset}{f', statistics of {data}' if data not in (None, dataset) else ''}"


def _group(record: dict) -> str:
    return json.dumps([record["backbone"], record["dataset"], _identity(record)], sort_keys=True)


def _merged(group: list[dict]) -> dict:
    conditions = [record["details"]["conditions"] for record in group]
    return {**conditions[0], "load": max(each["load"] for each in conditions)}


def _rows(group: list[dict]) -> list[Latency]:
    rows: dict[float, Latency] = {}
    for record in group:
        width, details = record["width"], record["details"]
        if "plan" in details:
            width = Plan(details["plan"], (), width)
        row = rows.setdefault(width, Latency(width, record["params"], record["macs"]))
        variant = details["runtime"]
        row.timings[variant] = {int(batch): Timing(**timing) for batch, timing in details["latency"].items()}
        row.sizes[variant], row.memory[variant] = details["bytes"], details["peak_memory"]
        row.top1[variant] = record["metrics"]["top1"]
    return sorted(rows.values(), key=lambda row: -row.width)
