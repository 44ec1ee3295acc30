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
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = graph(tmp_path)
    assert set(circle(found)) == {"pretrain.a", "pretrain.b", "pretrain.c"}
    assert arrows_up(found) == ["pretrain.d -> transfer.x", "slurm.y -> benchmark.z"]
