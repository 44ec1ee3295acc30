"""What a result says of itself, as flat text that the rows of a table select by and are told apart by.

Facts: task, dataset, method, backbone, width, protocol, framework, runtime, image_size, iterations, labels (share of
recognition's training images that has one); and of the pretraining, where the checkpoint records it: stem,
pretrained_on, epochs, batch, long (800 epochs and more), teacher, and the columns of Tables 7 to 9 (base_loss,
distill_loss, aux_head, momentum_base, momentum_sub, sandwich, dynamic_sampling, group_reg) as ``yes`` and ``no``.
"""

from collections.abc import Iterator

# fact -> where the checkpoint's metadata records it
PRETRAINING = {
    "pretrained_on": ("data", "name"),
    "epochs": ("epochs",),
    "batch": ("batch_size",),
    "teacher": ("teacher",),
    "base_loss": ("objective", "base"),
    "distill_loss": ("objective", "distill"),
    "aux_head": ("objective", "aux_head"),
    "momentum_base": ("objective", "momentum_base"),
    "momentum_sub": ("objective", "momentum_sub"),
    "sandwich": ("sampling", "sandwich"),
    "dynamic_sampling": ("sampling", "dynamic"),
    "alpha": ("optimizer", "alpha"),
}
# details of a result that decide its figures; ``settings`` is recognition's, the last two lines are detection's
DECISIVE = (
    "architecture", "plan", "pretraining", "protocol", "settings", "views", "neighbours", "calibration", "images",
    "framework", "runtime", "recipe", "recipe_hash", "masks", "overrides", "batch", "learning_rate", "iterations",
    "warmup", "image_size", "classes", "train_images", "val_images", "annotations",
)  # fmt: skip
# what differs between the seeds and widths of one experiment, or follows from something else that is there
INCIDENTAL = (
    "pretraining.seed", "pretraining.config", "pretraining.versions", "pretraining.calibration",
    "pretraining.width_range", "pretraining.backbone", "pretraining.objective.teacher",
    "pretraining.teacher_weights.source", "pretraining.teacher_weights.licence", "pretraining.teacher_weights.sha256",
    "pretraining.method", "pretraining.projector", "pretraining.checksum", "pretraining.file", "settings.seed",
    "settings.protocol", "settings.calibrate",
)  # fmt: skip
OF_NETWORKS = ("pretraining", "architecture", "plan")  # where a result says of what network it is
LONG = 800  # epochs


def facts(record: dict) -> dict[str, str]:
    """The facts of one ``result.json``; those that it does not record are absent."""
    details = record["details"]
    found = {key: record[key] for key in ("task", "dataset", "method", "backbone", "width")}
    found |= {name: details.get(name) for name in ("protocol", "framework", "runtime", "iterations")}
    found["image_size"] = details.get("image_size") or at(details, ("settings", "image_size"))
    found["labels"] = labels(details)
    for name, path in PRETRAINING.items():
        found[name] = at(details, ("pretraining", *path))
    found["stem"] = at(details, ("architecture", "stem")) or at(details, ("pretraining", "backbone", "stem"))
    if _is_number(found["alpha"]):
        found["group_reg"] = found["alpha"] > 0
    if _is_number(found["epochs"]):
        found["long"] = found["epochs"] >= LONG
    return {name: text(value) for name, value in found.items() if value is not None}


def decisive(record: dict) -> dict[str, str]:
    """All that is recorded of what determines a result apart from seeds, by its path: ``pretraining.optimizer.lr``.

    Two results with equal task, data set, backbone, method and ``decisive`` are seeds of one experiment, or widths.
    """
    details = record["details"]
    chosen = {name: details.get(name) for name in DECISIVE}
    if chosen["architecture"] is None:  # of results that do not record it, nor ever of random weights
        chosen["architecture"] = at(details, ("pretraining", "backbone"))
    found = {path: value for path, value in _leaves(chosen, "") if not _is_incidental(path)}
    share = labels(details)
    return found if share is None else {**found, "settings.labels": text(share)}


def evaluation(record: dict) -> dict[str, str]:
    """``decisive`` without the network and its calibration: what results of different methods are comparable by."""
    others = (*OF_NETWORKS, "calibration")
    return {path: value for path, value in decisive(record).items() if path.split(".")[0] not in others}


def labels(details: dict) -> object:
    """Share of the training images whose label is learned from: all of them, unless recognition's settings say less."""
    settings = details.get("settings")
    return settings.get("labels", 1.0) if isinstance(settings, dict) else None


def seeds(record: dict) -> tuple[object, int]:
    """Seeds of the pretraining, None where none is recorded, and of the evaluation."""
    seed = at(record["details"], ("pretraining", "seed"))
    return (seed if isinstance(seed, int) else None), record["seed"]


def text(value: object) -> str:
    """``yes``/``no`` for booleans, numbers without trailing zeros."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif value is not None:
        yield path, repr(value) if isinstance(value, float) else text(value)


def _is_incidental(path: str) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in INCIDENTAL)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def at(values: object, path: tuple[str, ...]) -> object:
    """What lies at ``path`` in nested dictionaries; None where nothing does."""
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values
