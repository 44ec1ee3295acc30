"""Programs in processes of their own, as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

from tests import forked

ROOT = Path(__file__).resolve().parents[1]


def tool(name: str, *arguments: object, cwd: str | Path = "/") -> subprocess.CompletedProcess:
    """What ``tools/NAME.py ARGUMENTS`` returns and prints in the folder ``cwd``, with nothing to read from."""
    return forked.run([ROOT / "tools" / f"{name}.py", *arguments], cwd)


def python(code: str, *arguments: object, cwd: str | Path = ROOT) -> subprocess.CompletedProcess:
    """What a program of Python returns and prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=560)


def stranger(code: str, *arguments: object, cwd: str | Path) -> subprocess.CompletedProcess:
    """What a program of Python returns and prints that cannot import this project."""
    hidden = "import sys; sys.modules.update(pretrain=None, transfer=None)"
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return forked.run(["-c", f"{hidden}\n{code}", *arguments], cwd, forked.LIBRARIES, alone)
