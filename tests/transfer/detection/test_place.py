"""Where a training lies, and which one an evaluation may take."""

import pytest

from pretrain.common.errors import UserError
from pretrain.common.files import file_hash
from transfer.detection.place import EVALUATED, alike, check_recipe, evaluated, write_run
from transfer.detection.settings import DetectionSettings
from transfer.recipes import recipe_hash

RUN = {
    "checkpoint": "c", "seed": 0, "classes": [], "iterations": 2, "image_size": None, "batch": None, "overrides": [],
    "boxes_only": False, "data": "train-val", EVALUATED: "val",
}  # fmt: skip


def test_an_evaluation_has_the_recipe_of_its_training(tmp_path):
    recipe, base, other = (tmp_path / name for name in ("mine.py", "base.py", "own.py"))
    recipe.write_text('_base_ = "base.py"')
    base.write_text("size = 400")
    other.write_text("size = 800")
    run, folder = {"recipe": "mine.py", "recipe_hash": recipe_hash(recipe)}, tmp_path / "seed_0-1234"
    check_recipe(folder, run, recipe)
    with pytest.raises(UserError, match="seed_0-1234 was trained by mine.py, not by own.py; expected --config"):
        check_recipe(folder, run, other)
    base.write_text("size = 500")
    with pytest.raises(UserError, match="trained by mine.py, which has changed since"):
        check_recipe(folder, run, recipe)


@pytest.mark.parametrize("said", [{}, {"recipe": "mine.py", "recipe_hash": "of its bytes"}])
def test_a_training_that_says_no_more_than_its_recipes_bytes_is_taken(tmp_path, said):
    recipe = tmp_path / "mine.py"
    recipe.write_text('_base_ = "base.py"')
    check_recipe(tmp_path, {**said, **({"recipe_hash": file_hash(recipe)} if said else {})}, recipe)


def test_of_several_trainings_the_one_of_the_recipe_is_evaluated(tmp_path):
    recipes = [tmp_path / name for name in ("mine.py", "own.py")]
    for recipe in recipes:
        recipe.write_text(f"name = '{recipe.stem}'")
        folder = tmp_path / "width_0.5" / recipe.stem
        folder.mkdir(parents=True)
        write_run(folder, {**RUN, "recipe": recipe.name, "recipe_hash": recipe_hash(recipe)})
    for recipe in recipes:
        assert evaluated(tmp_path / "width_0.5", "c", DetectionSettings(), recipe).name == recipe.stem
    (other := tmp_path / "other.py").write_text("")
    with pytest.raises(UserError, match="several trainings fit: mine, own"):
        evaluated(tmp_path / "width_0.5", "c", DetectionSettings(), other)


def test_an_evaluation_takes_the_place_of_the_trainings_own_where_it_asks_the_same_alone():
    without = {name: value for name, value in RUN.items() if name != EVALUATED}
    for trained in (RUN, without):
        assert alike({**RUN, "data": "val"}, trained)
        assert not alike({**RUN, EVALUATED: "other"}, trained), "on other images"
        assert not alike({**RUN, "image_size": 64}, trained), "at another size"
    assert not alike(RUN, {**without, "data": "of all splits together"}), "what is unknown may be other images"
