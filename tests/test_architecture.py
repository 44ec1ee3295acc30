"""How the modules depend on one another: floors without an arrow up, and no circle among files."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

FLOORS = [{"pretrain"}, {"transfer"}, {"slurm", "benchmark"}, {"tools"}]
LOWEST = "pretrain.common"


def modules(root: Path) -> dict[str, Path]:
    """The modules of all floors by name; a package's is its ``__init__``."""
    found = {}
    for floor in FLOORS:
        for package in floor:
            for path in (root / package).rglob("*.py"):
                parts = path.relative_to(root).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules that a file names in any import: at its top, for type checkers alone, or inside of a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    own = {name for name in found if name.split(".")[0] in set().union(*FLOORS)}
    assert own <= known.keys(), f"{path} imports {', '.join(sorted(own - known.keys()))}, which is not there"
    return found & known.keys() - {name for name, file in known.items() if file == path}


def graph(root: Path) -> dict[str, set[str]]:
    known = modules(root)
    return {name: imports(path, known) for name, path in known.items()}


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, in order; empty without one."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def arrows_up(arrows: dict[str, set[str]]) -> list[str]:
    """Imports of a floor above, or of another package of the same floor."""
    floor = {package: number for number, packages in enumerate(FLOORS) for package in packages}
    return [
        f"{name} -> {other}"
        for name, others in arrows.items()
        for other in others
        if (ours := name.split(".")[0]) != (theirs := other.split(".")[0]) and floor[theirs] >= floor[ours]
    ]


def names_of(path: Path) -> set[str] | None:
    """What a module binds at its top, under any condition; None for one that makes names when they are asked for."""
    found, left = set(), list(ast.parse(path.read_text(encoding="utf-8")).body)
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        else:
            found |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
            left += [one for one in ast.iter_child_nodes(node) if isinstance(one, (ast.stmt, ast.ExceptHandler))]
    return None if "__getattr__" in found else found


def missing_names(root: Path, files: list[Path]) -> list[str]:
    """Names that ``files`` import from modules of ours, wherever in a file, and that are not there."""
    known, bound, found = modules(root), {}, []
    known |= {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (root / "tests").rglob("*.py")
    }
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.ImportFrom) and node.module in known):
                continue
            if node.module not in bound:
                bound[node.module] = names_of(known[node.module])
            for alias in node.names:
                there = bound[node.module] is None or alias.name in bound[node.module]
                if not there and f"{node.module}.{alias.name}" not in known:
                    found.append(f"{path.relative_to(root)}:{node.lineno}: {node.module}.{alias.name}")
    return found


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture(scope="module")
def arrows(repository) -> dict[str, set[str]]:
    return graph(repository)


def test_no_circle_among_files(arrows):
    assert circle(arrows) == []


def test_no_arrow_up(arrows):
    assert arrows_up(arrows) == []


def test_what_all_share_knows_nothing_of_them(arrows):
    shared = {name: others for name, others in arrows.items() if name.startswith(LOWEST)}
    assert shared and all(other.startswith(LOWEST) for others in shared.values() for other in others)


def test_every_kind_of_import_counts(tmp_path):
    files = {
        "pretrain/a.py": "from pretrain import b",
        "pretrain/b.py": "def late():\n    from pretrain.c import thing",
        "pretrain/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pretrain.a",
        "pretrain/d.py": "import pretrain.a\nfrom transfer import x",
        "transfer/x.py": "",
        "slurm/y.py": "from benchmark.z import one",
        "benchmark/z.py": "",
    }
    write(tmp_path, files)
    found = graph(tmp_path)
    assert set(circle(found)) == {"pretrain.a", "pretrain.b", "pretrain.c"}
    assert arrows_up(found) == ["pretrain.d -> transfer.x", "slurm.y -> benchmark.z"]


def test_every_name_that_is_imported_is_there(repository):
    folders = (*(package for floor in FLOORS for package in floor), "configs", "tests")
    assert missing_names(repository, [path for folder in folders for path in (repository / folder).rglob("*.py")]) == []


def test_a_name_that_only_a_function_would_import_is_missed_before_it_runs(tmp_path):
    files = {
        "pretrain/__init__.py": "def __getattr__(name): ...",
        "pretrain/a.py": "ONE, (two, *three) = 1, (2,)\nif ONE:\n    from os import path as four\nelse:\n    five = 5",
        "tools/__init__.py": "",
        "tools/b.py": "from pretrain import anything\nfrom pretrain.a import ONE, five, four, three, two",
        "tools/c.py": "def late():\n    from pretrain.a import SIX",
        "tests/d.py": "from tools import b, c",
    }
    write(tmp_path, files)
    assert missing_names(tmp_path, sorted(tmp_path.rglob("*.py"))) == ["tools/c.py:2: pretrain.a.SIX"]
