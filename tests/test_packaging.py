"""setup.cfg says everything that an installation needs: each import and each data file has its line there."""

import ast
import configparser
import re
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.requirements import requires

ROOT = Path(__file__).resolve().parents[1]
OURS = {"pretrain", "transfer", "slurm", "tests", "tools", "benchmark"}
# Installed by tools/setup_environment.py, or tried and done without.
BY_OTHER_MEANS = {"detectron2"}
# What brings a module of another name, said here for where it is not installed.
BROUGHT_BY = {"mlflow": "mlflow-skinny"}
# Folders whose subject is an optional dependency, which an extra brings.
OPTIONAL_FOLDERS = tuple(ROOT / "transfer" / name for name in ("detection", "convert", "runtimes"))
# Files of which one option needs an extra.
OPTIONAL_FILES = {
    ROOT / "pretrain/optim.py",
    ROOT / "pretrain/data/images/decode.py",
    ROOT / "pretrain/data/images/parquet.py",
    ROOT / "pretrain/run/tracking.py",
    ROOT / "pretrain/slimmable/norms/fused.py",
    ROOT / "pretrain/slimmable/norms/fused_kernels.py",
    ROOT / "pretrain/teachers/timm.py",
    ROOT / "pretrain/universal/hub.py",
    ROOT / "transfer/devices/time_models.py",
    ROOT / "transfer/embedding/features.py",
    ROOT / "transfer/recognition/sgd.py",
}


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def names(requirements: str) -> set[str]:
    """The distributions in a list of requirements, one a line."""
    return {canonical(re.match(r"[\w.-]+", line)[0]) for line in requirements.splitlines() if line.strip()}


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def third_party(files: Iterable[Path]) -> dict[str, Path]:
    """What Python files import from elsewhere, with a file that does."""
    found = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            found |= {module.split(".")[0]: path for module in modules}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names and name not in OURS}


def undeclared(files: Iterable[Path], declared: set[str]) -> list[str]:
    """Imports that no declared distribution brings."""
    brings = packages_distributions()
    return [
        f"{name} ({path.relative_to(ROOT)})"
        for name, path in third_party(files).items()
        if name not in BY_OTHER_MEANS
        and not {canonical(d) for d in brings.get(name, [BROUGHT_BY.get(name, name)])} & declared
    ]


# An import is traced to its distribution by what is installed.
@requires("detection")
@pytest.mark.parametrize("folder", ["pretrain", "transfer", "slurm", "tools", "tests", "configs"])
def test_every_import_is_declared(setup_cfg, folder):
    declared = names(setup_cfg["options"]["install_requires"])
    for extra in setup_cfg["options.extras_require"].values():
        declared |= names(extra)
    assert not undeclared((ROOT / folder).rglob("*.py"), declared)


def test_what_is_not_optional_needs_no_extra(setup_cfg):
    declared = names(setup_cfg["options"]["install_requires"])
    files = [path for package in ("pretrain", "transfer") for path in (ROOT / package).rglob("*.py")]
    core = (path for path in files if not set(OPTIONAL_FOLDERS) & set(path.parents) and path not in OPTIONAL_FILES)
    assert not undeclared(core, declared)


def test_every_data_file_of_the_packages_is_installed_with_them(setup_cfg):
    for package in ("pretrain", "transfer"):
        patterns = setup_cfg["options.package_data"].get(package, "").split()
        installed = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
        data = {p for p in (ROOT / package).rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
        assert data <= installed
