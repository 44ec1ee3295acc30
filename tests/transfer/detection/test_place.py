"""Where a training lies, and which one an evaluation may take."""

import pytest

from pretrain.common.errors import UserError
from pretrain.common.files import file_hash
from transfer.detection.place import check_recipe
from transfer.recipes import recipe_hash


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
