"""What a test needs beyond the core dependencies: skipped with the reason where it is missing.

    pytestmark = requires("detection")            # a whole file
    @requires("data", "detection")                # one test
    demand("slurm")                               # inside a fixture

The fixture ``real_data`` demands ``data`` and gives the folder.

The environment variable ``US3L_REQUIRE=data,detection,...`` turns these skips into failures: a machine that is meant to
run everything says so, and a test that cannot run there is found. A name that no requirement has is an error.

To add a requirement, write its check and list it in ``REQUIREMENTS``. A test module that needs an optional package
imports it inside its tests and fixtures, so that collecting it works everywhere.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.nullcuda.program import lacking as nullcuda_lacking

SLURM_PROGRAMS = ("sbatch", "slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
DATA_SETS = ("cifar10_jpeg.tar.xz", "coco_mini", "imagenet_mini", "voc_mini")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photographs that ``US3L_DATA`` names, with everything in ``DATA_SETS``."""
    demand("data")
    return Path(os.environ["US3L_DATA"])


def lacks_data() -> str | None:
    """Real photographs: ``DATA_SETS`` in the folder that ``US3L_DATA`` names."""
    folder = os.environ.get("US3L_DATA")
    if not folder:
        return "US3L_DATA does not name a folder of real data"
    missing = [name for name in DATA_SETS if not (Path(folder) / name).exists()]
    return f"US3L_DATA={folder} has no {', '.join(missing)}" if missing else None


def lacks_modules(*modules: str) -> Callable[[], str | None]:
    """A check that modules can be found, without importing them."""

    def check() -> str | None:
        missing = [module for module in modules if find_spec(module) is None]
        return f"{', '.join(missing)} not installed" if missing else None

    return check


def lacks_slurm() -> str | None:
    """The programs of a SLURM cluster with accounting, which the tests start themselves (tests/slurm/cluster.sh)."""
    missing = [name for name in SLURM_PROGRAMS if shutil.which(name, path=PATH) is None]
    if not missing and find_spec("submitit") is None:
        return "submitit not installed (the extra slurm)"
    if missing:
        return f"{', '.join(missing)} not installed (tests/slurm/cluster.sh install)"
    conf = Path("/etc/slurm/slurm.conf")
    return f"{conf} belongs to another cluster" if conf.exists() and not conf.is_symlink() else None


def lacks_commands(*commands: str) -> Callable[[], str | None]:
    """A check that commands are on PATH."""

    def check() -> str | None:
        missing = [command for command in commands if shutil.which(command) is None]
        return f"no {', '.join(missing)} on PATH" if missing else None

    return check


def lacks_root() -> str | None:
    """The rights of root."""
    return None if os.geteuid() == 0 else "not run as root"


REQUIREMENTS: dict[str, Callable[[], str | None]] = {
    "data": lacks_data,
    "detection": lacks_modules("detectron2", "pycocotools"),
    "formats": lacks_modules("timm", "onnx", "onnxscript", "onnxruntime"),
    "devices": lacks_modules("openvino", "executorch", "ncnn", "pnnx", "nncf", "torchao"),
    "hub": lacks_modules("transformers", "huggingface_hub", "timm"),
    "latex": lacks_commands("pdflatex"),
    "chromium": lacks_commands("chromium"),
    "images": lacks_modules("pyarrow", "tifffile"),
    "mmdet": lacks_modules("mmdet", "mmcv"),
    "nullcuda": nullcuda_lacking,
    "timm": lacks_modules("timm"),
    "trackers": lacks_modules("wandb", "mlflow", "sqlalchemy", "alembic"),
    "trackio": lacks_modules("trackio"),
    "slurm": lacks_slurm,
    "submitit": lacks_modules("submitit"),
    "root": lacks_root,
}


def requires(*names: str) -> pytest.MarkDecorator:
    """Mark a test or a file: it runs only where all named requirements are met."""
    check_names(names)
    return pytest.mark.requires(*names)


def demand(name: str) -> None:
    """Skip the running test, or fail it if ``US3L_REQUIRE`` names the requirement, unless it is met."""
    check_names([name])
    reason = missing(name)
    if reason is None:
        return
    if name in required_names():
        pytest.fail(f"US3L_REQUIRE names {name}: {reason}", pytrace=False)
    pytest.skip(f"needs {name}: {reason}")


@cache
def missing(name: str) -> str | None:
    """Why a requirement is not met, None if it is; asked once in a process."""
    return REQUIREMENTS[name]()


def required_names() -> list[str]:
    """The requirements that ``US3L_REQUIRE`` turns into obligations."""
    return [name for name in os.environ.get("US3L_REQUIRE", "").replace(" ", "").split(",") if name]


def check_names(names: Iterable[str]) -> None:
    """Refuse a name that no requirement has."""
    for name in names:
        if name not in REQUIREMENTS:
            raise pytest.UsageError(f"no requirement is called '{name}'; valid: {', '.join(REQUIREMENTS)}")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires(*names): what the test needs, see tests/requirements.py")
    check_names(required_names())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("requires"):
        for name in mark.args:
            demand(name)
