"""Recipes: each framework's own of every detection target, and what a recipe's hash depends on."""

import pytest

from pretrain.common.files import file_hash
from transfer.recipes import RECIPES, read_once, recipe_hash
from transfer.targets import FRAMEWORKS, targets_of


def test_every_framework_has_a_recipe_of_every_detection_target():
    assert RECIPES.keys() == FRAMEWORKS.keys()
    assert all(recipes.keys() == targets_of("detection").keys() for recipes in RECIPES.values())
    assert all(path.is_file() for recipes in RECIPES.values() for path in recipes.values())


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ('_base_ = ["base.py"]', "base.py"),
        ("from .base import model  # noqa", "base.py"),
        ("from ..base import (\n    model,\n)", "../base.py"),
        ("from .more.base import model", "more/base.py"),
    ],
)
def test_a_hash_changes_with_what_the_recipe_inherits_at_any_depth(tmp_path, text, base):
    recipe = tmp_path / "here/recipe.py"
    base, root = (recipe.parent / base).resolve(), tmp_path / "root.py"
    for path in (recipe, base):
        path.parent.mkdir(exist_ok=True)
    recipe.write_text(text)
    base.write_text(f'_base_ = "{root}"')
    root.write_text("x = 1")
    hashes = [recipe_hash(recipe)]
    root.write_text("x = 2")
    hashes.append(recipe_hash(recipe))
    base.write_text(f'_base_ = "{root}"; y = 1')
    hashes.append(recipe_hash(recipe))
    assert len({*hashes}) == 3 and recipe_hash(recipe) == hashes[-1]


def test_a_recipe_that_inherits_nothing_is_its_bytes_and_a_circle_ends(tmp_path):
    (tmp_path / "a.py").write_text("x = 1")
    assert recipe_hash(tmp_path / "a.py") == file_hash(tmp_path / "a.py")
    (tmp_path / "a.py").write_text("from .b import x")
    (tmp_path / "b.py").write_text("from .a import x")
    assert recipe_hash(tmp_path / "a.py") != recipe_hash(tmp_path / "b.py")


def test_a_recipe_is_read_again_where_it_or_its_base_has_changed_and_nobody_shares_what_was_read(tmp_path):
    recipe, base, loads = tmp_path / "recipe.py", tmp_path / "base.py", []
    recipe.write_text('_base_ = "base.py"')
    base.write_text("1")

    @read_once
    def load(path):
        loads.append(path)
        return [path.read_text(), base.read_text()]

    load(recipe).clear()
    assert load(recipe) == ['_base_ = "base.py"', "1"] and len(loads) == 1
    base.write_text("2")
    assert load(recipe)[1] == "2" and len(loads) == 2
