"""Runs a function in a process whose GPUs are null devices; ``python -m tests.nullcuda.program`` is that process."""

import hashlib
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DRIVER, COMPILER = "libcuda.so.1", "libnvrtc.so.13"


def on_null_device(function: Callable, *args: Any, gibibytes: float = 80, devices: int = 1) -> Any:
    """What ``function(*args)`` returns under the null device. Arguments and result: what JSON can say.

    function: of a module's top level. gibibytes, devices: memory of each GPU, and how many there are.
    Errors: AssertionError with what the process said, where it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        module = function.__module__ if function.__module__ != "__main__" else sys.modules["__main__"].__spec__.name
        call = [f"{module}:{function.__qualname__}", json.dumps(args), str(answer)]
        command = [sys.executable, "-m", "tests.nullcuda.program", *call]
        done = subprocess.run(command, cwd=ROOT, env=environment(gibibytes, devices), capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{call[0]} failed under the null device:\n{done.stdout}\n{done.stderr}")
        return json.loads(answer.read_text())


def environment(gibibytes: float = 80, devices: int = 1) -> dict[str, str]:
    """Variables under which a program sees null devices; the library is built where it is missing."""
    library = built()
    return os.environ | {
        "LD_PRELOAD": f"{library} {COMPILER}", "LD_LIBRARY_PATH": str(library.parent), "NULLCUDA_GIB": str(gibibytes),
        "NULLCUDA_DEVICES": str(devices), "GLIBC_TUNABLES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip


@cache
def built() -> Path:
    """The library, compiled once for its source and torch's headers: a few seconds."""
    sources = sorted(HERE.glob("source/**/*.*"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources) + str(headers()).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"us3l-null-device-{os.getuid()}" / digest
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        compile_into(partial)
        try:
            partial.rename(folder)
        except OSError:  # another process was faster
            assert folder.is_dir(), folder
    return folder / "libnullcuda.so"


def compile_into(folder: Path) -> None:
    files = [str(path) for path in sorted((HERE / "source").glob("*.cpp"))]
    include = [f"-I{HERE / 'source' / 'include'}", f"-I{headers()}"]
    library = folder / "libnullcuda.so"
    subprocess.run(["g++", "-O1", "-w", "-shared", "-fPIC", *include, *files, "-o", library, "-lpthread"], check=True)
    for name in (DRIVER, COMPILER):  # which torch loads by their names
        (folder / name).symlink_to(library.name)


def headers() -> Path | None:
    """Of the CUDA runtime that torch's wheel brought; None where it is built without CUDA."""
    spec = find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else []
    return next((path.parent for folder in folders for path in Path(folder).rglob("driver_types.h")), None)


def lacking() -> str | None:
    """What this machine lacks to run anything under the null device."""
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if platform.system() != "Linux":
        return "not on Linux"
    if headers() is None:
        return "no headers of the CUDA runtime beside torch"
    commands = [command for command in ("g++", "c++filt") if shutil.which(command) is None]
    return f"no {', '.join(commands)} on PATH" if commands else None


def main(name: str, args: str, answer: str) -> None:
    module, function = name.split(":")
    import tests.nullcuda.counting  # noqa: F401, before anything asks for a convolution

    result = getattr(importlib.import_module(module), function)(*json.loads(args))
    Path(answer).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
