"""Where a training lies: a place of its own by what determines its result, and what it was, in ``run.json``.

    OUTPUT/<data>/<task>/width_<w>[_random|_<name>]/seed_<s>-<digest>/

The digest is of the checkpoint, the recipe, the settings and the annotations. ``--resume`` and ``--eval-only`` find a
training again by ``run.json``, also where its length or what is evaluated has been changed.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import file_hash, write_json
from transfer.detection.data import Data
from transfer.detection.settings import DetectionSettings
from transfer.recipes import recipe_hash
from transfer.source import Source

FILE_NAME = "run.json"
CHOICES = ("iterations", "image_size", "batch", "overrides", "boxes_only")  # settings that determine a result
EVALUATED = "val_data"


def identity(source: Source, settings: DetectionSettings, recipe: Path, data: Data) -> dict:
    """What determines a training's result beside its width, as JSON has it."""
    choices = {name: getattr(settings, name) for name in CHOICES}
    if settings.batch is None:
        choices["processes"] = settings.num_gpus  # which decide about the batch
    return json.loads(json.dumps({
        "checkpoint": source.checkpoint_hash, "method": source.method, "backbone": source.backbone,
        "target": settings.target, "recipe": recipe.name, "recipe_hash": recipe_hash(recipe), "seed": settings.seed,
        **choices, "classes": data.categories, "data": data.hash, EVALUATED: data.val_hash,
    }))  # fmt: skip


def place(parent: Path, found: dict) -> Path:
    """The folder of a training below its width's."""
    digest = hashlib.sha256(json.dumps(of_training(found), sort_keys=True).encode()).hexdigest()
    return parent / f"seed_{found['seed']}-{digest[:8]}"


def of_training(found: dict) -> dict:
    """Without what ``data`` has already, and says of an evaluation alone."""
    return {name: value for name, value in found.items() if name != EVALUATED}


def write_run(folder: Path, found: dict) -> None:
    """Say what trains in ``folder``."""
    write_json(folder / FILE_NAME, found, sort_keys=True)


def read_run(folder: Path) -> dict:
    """What was trained in ``folder``. UserError for what is no such record."""
    path = folder / FILE_NAME
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())[:160]}") from None
    wanted = ("checkpoint", "seed", "classes", *CHOICES)
    if not isinstance(found, dict) or any(name not in found for name in wanted):
        raise UserError(f"{path} does not say what was trained; expected {', '.join(wanted)}")
    return found


def resumed(parent: Path, wanted: dict) -> Path:
    """The folder of the training that ``wanted`` continues: its own, or one of another length alone.

    Its own, new one if there is none. Errors: UserError if there are several.
    """
    own = place(parent, wanted)
    if (own / FILE_NAME).is_file():
        return own
    any_length = {**of_training(wanted), "iterations": None}
    same = [folder for folder, run in runs(parent) if {**of_training(run), "iterations": None} == any_length]
    if len(same) > 1:
        raise UserError(f"--resume: several trainings differ in their length alone: {listed(same)}; "
                        "expected --iterations of one of them")  # fmt: skip
    return same[0] if same else own


def evaluated(parent: Path, checkpoint: str | None, settings: DetectionSettings, recipe: Path) -> Path:
    """The folder of the training that ``--eval-only`` evaluates: of several that fit, the one of ``recipe``.

    Errors: UserError unless exactly one fits.
    """
    found = [(folder, run) for folder, run in runs(parent)
             if run["checkpoint"] == checkpoint and run["seed"] == settings.seed]  # fmt: skip
    given = {name: getattr(settings, name) for name in CHOICES if getattr(settings, name)}
    given = json.loads(json.dumps(given))

    def fitting_in(names: tuple[str, ...]) -> list[Path]:
        return [folder for folder, run in found if all(run[n] == given[n] for n in names if n in given)]

    fitting = fitting_in(CHOICES) or fitting_in(("iterations", "batch"))  # what is evaluated may differ
    if not fitting:
        what = f"; there are {listed([folder for folder, _ in found])}" if found else ""
        raise UserError(f"--eval-only, but {parent} holds no checkpoint of such a training{what}; "
                        "train first, without --eval-only")  # fmt: skip
    if len(fitting) > 1:
        fitting = [folder for folder, run in found if folder in fitting and of_recipe(run, recipe)] or fitting
    if len(fitting) > 1:
        raise UserError(f"--eval-only: several trainings fit: {listed(fitting)}; expected the options of one of them")
    return fitting[0]


def as_trained(settings: DetectionSettings, run: dict) -> DetectionSettings:
    """``settings`` with what was not given taken from the training that is evaluated."""
    known = {name: getattr(settings, name) or run[name] for name in CHOICES}
    return replace(settings, **{**known, "overrides": tuple(known["overrides"])})


def alike(run: dict, trained: dict) -> bool:
    """Whether an evaluation asks what the training's own one asked, whose result it then repeats. Where the training
    does not say what it was evaluated on, COCO's data end with it; of others it is unknown, and nothing is replaced."""
    own = trained.get(EVALUATED) or trained.get("data", "").rpartition("-")[2]
    return all(run[name] == trained[name] for name in CHOICES) and own == run[EVALUATED]


def of_recipe(run: dict, recipe: Path) -> bool:
    """Whether a training had this recipe, as far as it says: all that the recipe inherits, or its bytes alone."""
    return run.get("recipe_hash") in (None, recipe_hash(recipe), file_hash(recipe))


def check_recipe(folder: Path, run: dict, recipe: Path) -> None:
    """UserError where the training in ``folder`` had another recipe than the one that would evaluate it."""
    if not of_recipe(run, recipe):
        same = run.get("recipe") == recipe.name
        raise UserError(
            f"--eval-only: {folder.name} was trained by {run.get('recipe')}, "
            f"{'which has changed since' if same else f'not by {recipe.name}'}; expected --config with that recipe"
        )


def runs(parent: Path) -> list[tuple[Path, dict]]:
    """The trainings below a width's folder and what they are."""
    return [(path.parent, read_run(path.parent)) for path in sorted(parent.glob(f"*/{FILE_NAME}"))]


def listed(folders: list[Path]) -> str:
    return ", ".join(folder.name for folder in folders)
