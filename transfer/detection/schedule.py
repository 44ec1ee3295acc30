"""Batch, learning rate, iterations and warm-up: how a recipe's follow the number of processes and ``--batch``.

The linear scaling rule of Goyal et al., "Accurate, large minibatch SGD" (2017): the learning rate is proportional to
the batch; iterations and warm-up are inversely proportional, so that as many images are seen as in the recipe.
"""

from dataclasses import dataclass
from fractions import Fraction

from pretrain.common.errors import UserError

WARMUP_SHARE = 10  # warm-up takes at most a tenth of a training that was shortened


@dataclass(frozen=True)
class Schedule:
    """batch: images an iteration, of all processes together. warmup: iterations in which the learning rate rises.

    processes: among which ``batch`` is shared, one for each GPU.
    """

    batch: int
    learning_rate: float
    iterations: int
    warmup: int
    processes: int


def scale(recipe: Schedule, processes: int, batch: int | None = None, iterations: int | None = None) -> Schedule:
    """The schedule of a training in ``processes`` processes.

    Without ``batch`` each process takes as many images as in the recipe. ``iterations`` changes the length alone:
    warm-up keeps its images, but never takes more than a tenth of the training. Errors: UserError for a batch that
    cannot be shared.

    >>> scale(Schedule(16, 0.02, 90_000, 1000, 8), processes=4)
    Schedule(batch=8, learning_rate=0.01, iterations=180000, warmup=2000, processes=4)
    """
    if batch is None:
        batch = max(1, recipe.batch // recipe.processes) * processes
    if batch % processes:
        raise UserError(f"a batch of {batch} is not divisible by {processes} processes")
    ratio = Fraction(batch, recipe.batch)
    length = round(recipe.iterations / ratio) if iterations is None else iterations
    warmup = min(round(recipe.warmup / ratio), max(1, length // WARMUP_SHARE)) if recipe.warmup else 0
    return Schedule(batch, recipe.learning_rate * float(ratio), length, warmup, processes)


def explain(recipe: Schedule, used: Schedule, overridden: tuple[str, ...] = ()) -> list[str]:
    """One line for each value of ``used`` that says what it came from.

    overridden: names of the fields that a ``key=value`` of the command line has set.
    """
    base, ratio = f"the recipe's {recipe.batch} images", f"{used.batch}/{recipe.batch}"
    share = max(1, recipe.batch // recipe.processes)
    together = "one process" if used.processes == 1 else f"each of {used.processes} processes"
    same = used.batch == recipe.batch
    kept = f"the recipe's {recipe.iterations} x {recipe.batch}/{used.batch}, which keeps the number of epochs"
    warm = f"the recipe's {recipe.warmup} x {recipe.batch}/{used.batch}, which keeps the number of its images"
    scaled_warmup = round(recipe.warmup * Fraction(recipe.batch, used.batch))
    reasons = {
        "batch": f"{share} for {together}, as in the recipe"
        if used.batch == share * used.processes else f"as asked; the recipe's is {recipe.batch}",
        "learning_rate": "the recipe's" if same else f"{recipe.learning_rate:g} for {base}, x {ratio}",
        "iterations": "the recipe's" if same and used.iterations == recipe.iterations
        else kept if used.iterations == round(recipe.iterations * Fraction(recipe.batch, used.batch)) else "as asked",
        "warmup": "the recipe's" if same and used.warmup == recipe.warmup
        else warm if used.warmup == scaled_warmup else "a tenth of the training, no more",
    }  # fmt: skip
    values = {
        "batch": f"{used.batch} images", "learning_rate": f"{used.learning_rate:g}",
        "iterations": str(used.iterations), "warmup": f"{used.warmup} iterations",
    }  # fmt: skip
    for name in overridden:
        reasons[name] = "set on the command line"
    titles = {"learning_rate": "rate", "warmup": "warm-up"}
    return [f"{titles.get(name, name):12}{values[name]} ({reasons[name]})" for name in values]
