"""Training checkpoints whose checksum holds and whose content does not: one line, before anything is trained."""

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from pretrain.common.errors import UserError
from pretrain.run.checkpoint import check_fields, save_checkpoint
from pretrain.run.distributed import World
from pretrain.start import FIELDS, LastGood, find, take_up
from pretrain.trainer import Trainer
from tests.pretrain.helpers import tiny_config

FOUND = Path("iteration_00000004.pt")
WORLD = World(0, 1, torch.device("cpu"))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-2, 20), st.floats(), st.text(max_size=5))
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.text(max_size=3), SCALARS, max_size=2),
    st.sampled_from([torch.zeros(3), torch.zeros(2, 2, dtype=torch.int64)]),
)  # fmt: skip


def places(value: object, here: tuple = ()):
    """The way to everything in nested dictionaries and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*here, key)
        yield from places(inner, (*here, key))


def trained() -> tuple[Trainer, dict]:
    config = tiny_config(optimizer={"name": "adamw", "alpha": 0.0})
    trainer = Trainer(config, WORLD, 9)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()
    return trainer, {**trainer.state(), "interval": {"terms": [], "iterations": 0}, "iteration": 4}


TRAINER, STATE = trained()
PLACES = sorted(places(STATE), key=lambda place: (len(place), str(place)))


def changed(value: object, place: tuple, new: object, missing: bool = False) -> object:
    """A copy of nested dictionaries and lists with ``new`` at ``place``, or with nothing there."""
    copied = copy.copy(value)
    key, *inner = place
    if inner:
        copied[key] = changed(copied[key], tuple(inner), new, missing)
    elif missing:
        del copied[key]
    else:
        copied[key] = new
    return copied


def resumed(state: dict) -> int | None:
    """The iteration at which a run goes on from ``state``, None where it is refused."""
    try:
        check_fields(state, FOUND, {"iteration": int, **FIELDS})
        return take_up(TRAINER, LastGood(FOUND, state))[0]
    except UserError as error:
        assert "\n" not in str(error)
        return None


def test_what_was_saved_is_taken_up():
    assert resumed(copy.deepcopy(STATE)) == 4


@pytest.mark.parametrize("name", ["model", "optimizer", "scaler", "config", "iterations", "threads", "world_size"])
def test_a_state_that_lacks_something_is_refused_by_its_name(tmp_path, name):
    state = {key: value for key, value in STATE.items() if key != name}
    save_checkpoint(tmp_path / "checkpoints", 4, state)
    with pytest.raises(UserError, match=rf"iteration_00000004\.pt holds no whole .*: it has no '{name}"):
        find(tmp_path, True, WORLD)


@given(place=st.sampled_from(PLACES), value=VALUES)
@example(("optimizer", "state", 0), {})
@example(("interval",), [])
@pytest.mark.filterwarnings("ignore:resumed with")
def test_any_value_in_any_place_is_used_or_refused(place, value):
    assert resumed(changed(STATE, place, value)) in (None, *range(10))


@given(place=st.sampled_from(PLACES))
@pytest.mark.filterwarnings("ignore:resumed with")
def test_anything_may_be_missing(place):
    assert resumed(changed(STATE, place, None, missing=True)) in (None, 4)
