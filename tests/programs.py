"""Programs in processes of their own, as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

from tests import forked

ROOT = Path(__file__).resolve().parents[1]


def tool(name: str, *arguments: object, cwd: str | Path = "/") -> subprocess.CompletedProcess:
    """What ``tools/NAME.py ARGUMENTS`` returns and prints in the folder ``cwd``, with nothing to read from."""
    return forked.run(ROOT / "tools" / f"{name}.py", list(map(str, arguments)), cwd)


def python(code: str, *arguments: object, cwd: str | Path = ROOT, alone: bool = False) -> subprocess.CompletedProcess:
    """What a program of Python returns and prints. alone: where this project is found by its working folder at most."""
    hidden = {"PYTHONPATH"} if alone else set()
    return _captured(["-c", code, *arguments], cwd, {k: v for k, v in os.environ.items() if k not in hidden})


def _captured(arguments: list, cwd: str | Path, environment: dict) -> subprocess.CompletedProcess:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=560
    )
