"""Which of a file's networks are the wanted one's weights, and how much of it they cover.

A network is looked for under every prefix that a wrapper may have put before its names (``module.``, ``state_dict.``,
``encoder_q.`` …) and in every layout of names that it is known by: what fits is counted, nothing is guessed.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from torch import Tensor

from pretrain.common.errors import UserError, nearest

ENOUGH = 0.9  # share of the parameters that a file must hold
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Fit:
    """What a file has for a network.

    prefix: before the names in the file. state: the tensors that fit, by the network's names. missing: names without a
    tensor. shapes: of those with a tensor of another shape, (the file's, the network's). unexpected: names under the
    prefix that the network does not have. share: of the network's numbers, those that the file has.
    """

    prefix: str
    state: dict[str, Tensor]
    missing: tuple[str, ...]
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unexpected: tuple[str, ...]
    share: float

    def __str__(self) -> str:
        other = [f"{name} {list(theirs)} for {list(ours)}" for name, (theirs, ours) in self.shapes.items()]
        parts = [
            f"{100 * self.share:.1f} % of the parameters, {len(self.state)} tensors under '{self.prefix}'",
            _listed("missing", list(self.missing)),
            _listed("of another shape", other),
            _listed("unexpected", list(self.unexpected)),
        ]
        return "; ".join(part for part in parts if part)


def fit(
    tensors: Mapping[str, Tensor],
    shapes: Shapes,
    file: Path,
    prefix: str | None = None,
    layouts: tuple[Mapping[str, str], ...] = ({},),
    option: str = "a prefix",
    aside: tuple[str, ...] = (),
    adapted: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor,
) -> Fit:
    """The part of ``tensors`` (a file's, by name) that are a network's of ``shapes``.

    prefix: the one that is meant; by default the only one under which enough fits. layouts: from the network's names to
    those that it may have in a file, where they differ. option: how a person gives the prefix, for messages. aside:
    endings of names that files have and networks of these shapes don't need. adapted: makes a tensor of another size
    fit, by the network's name for it.
    Errors: UserError, of one line, where two prefixes fit, the given one is not there, or less than 90 % fits.
    """
    found = []
    for layout in layouts:
        names = {layout.get(name, name): name for name in shapes}
        found += [_fitted(tensors, shapes, before, names, aside, adapted) for before in _prefixes(tensors, names)]
    if prefix is not None:
        found = _under(f"{prefix.rstrip('.')}." if prefix else "", found, file)
    if not found:
        raise UserError(f"{file} has no tensor of the network: it has {next(iter(tensors))}, not {next(iter(shapes))}")
    best = max(found, key=lambda one: one.share)
    enough = sorted({one.prefix for one in found if one.share >= ENOUGH})
    if len(enough) > 1:
        names = " and ".join(f"'{one}'" for one in enough)
        raise UserError(f"{file} holds several networks that fit, under {names}; expected {option} of one of them")
    if not enough:
        raise UserError(f"{file} does not fit: it has {best}; expected {100 * ENOUGH:.0f} %")
    return best


def _under(prefix: str, found: list[Fit], file: Path) -> list[Fit]:
    """The fits under a given prefix; UserError, with the nearest, where there is none."""
    known = {one.prefix for one in found if one.share >= ENOUGH} or {one.prefix for one in found}
    chosen = [one for one in found if one.prefix == prefix]
    if not chosen:
        raise UserError(f"{file} has no network under '{prefix}'{nearest(prefix, known)}")
    return chosen


def _prefixes(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    """What stands before any of ``names`` in the file, those before most of them first."""
    counts: dict[str, int] = defaultdict(int)
    for tensor in tensors:
        parts = tensor.split(".")
        for i in range(len(parts)):
            if ".".join(parts[i:]) in names:
                counts["".join(f"{part}." for part in parts[:i])] += 1
    most = max(counts.values(), default=0)
    return sorted((p for p, count in counts.items() if 4 * count >= most), key=lambda p: (-counts[p], p))


def _fitted(
    tensors: Mapping[str, Tensor],
    shapes: Shapes,
    prefix: str,
    names: Mapping[str, str],
    aside: tuple[str, ...],
    adapted: Callable[[str, Tensor], Tensor],
) -> Fit:
    mine = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    present = {ours: adapted(ours, mine[theirs]) for theirs, ours in names.items() if theirs in mine}
    state = {name: t for name, t in present.items() if tuple(t.shape) == tuple(shapes[name])}
    other = {n: (tuple(t.shape), tuple(shapes[n])) for n, t in present.items() if n not in state}
    missing = tuple(name for name in shapes if name not in present)
    unexpected = tuple(name for name in mine if name not in names and not name.endswith(aside))
    share = sum(prod(shapes[n]) for n in state) / max(1, sum(map(prod, shapes.values())))
    return Fit(prefix, state, missing, other, unexpected, share)


def _listed(what: str, names: list[str], most: int = 3) -> str:
    """``2 missing (a, b)``; the first few names of many, nothing of none."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} {what} ({', '.join(names[:most])}{more})" if names else ""
