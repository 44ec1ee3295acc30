#!/usr/bin/env python3
"""Make the virtual environment in .venv: torch, this project with its extras, and detectron2.

Needs only the standard library and runs with the system's python; `make demo` and `make test` call it. What is there
already is left alone, above all another torch or an official detectron2 in .venv. A second run finds its own stamp and
does nothing. Environment variables:

  US3L_REQUIRE  names of requirements of the tests; those that are extras too (mmdet, slurm) are installed as well
  US3L_WHEELS   a folder of wheels that pip looks into as well, for a compiled mmcv
"""

from __future__ import annotations

import argparse
import configparser
import difflib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 10)
TORCH = {"torch": "2.14.1", "torchvision": "0.29.1"}
# pkg_resources, which detectron2 imports, left setuptools in release 81.
BUILD = ["setuptools>=77,<81", "wheel"]
# Upstream's Python code as a wheel. It is tagged for Python 3.10 because of one compiled file that nothing here needs.
DETECTRON2 = "sal-detectron2==0.7.2"
DETECTRON2_SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"


class SetupError(Exception):
    """One line: what could not be done and what would help."""


def check_python(version: tuple[int, ...]) -> None:
    """Refuse an interpreter that the project does not run on."""
    if version[:2] < OLDEST_PYTHON:
        found, needed = (".".join(map(str, v[:2])) for v in (version, OLDEST_PYTHON))
        raise SetupError(f"this is Python {found}, but {needed} or newer is needed: make env PYTHON=python{needed}")


def wanted_extras(root: Path, named: list[str], required: str) -> list[str]:
    """The extras to install: those named, and the names in ``required`` (US3L_REQUIRE) that are extras of setup.cfg."""
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    known = [name for name in config["options.extras_require"] if not name.startswith("#")]
    for name in named:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"valid: {', '.join(known)}"
            raise SetupError(f"setup.cfg has no extra '{name}'; {hint}")
    return sorted({*named, *(name for name in required.split(",") if name in known)})


class Environment:
    """A virtual environment in ``folder``, seen from outside: another interpreter may be running this."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.log = folder / "setup.log"
        self.stamp = folder / "setup.json"

    def works(self) -> bool:
        """Whether it is there and its interpreter starts."""
        return self.python.exists() and subprocess.run([self.python, "-c", ""], capture_output=True).returncode == 0

    def create(self) -> None:
        """Make it anew from the interpreter that runs this."""
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", self.folder], capture_output=True, text=True)
        if made.returncode != 0:
            raise SetupError(f"'python -m venv' failed; Debian has it in python3-venv (make system-deps): {last(made)}")

    def ask(self, code: str) -> str:
        """What a line of Python prints in it, run outside of any project folder."""
        answer = subprocess.run([self.python, "-I", "-c", code], capture_output=True, text=True)
        return answer.stdout.strip()

    def version(self, package: str) -> str | None:
        """The installed version of a package, None without it."""
        return self.ask(f"from importlib.metadata import version; print(version({package!r}))") or None

    def has(self, module: str) -> bool:
        """Whether a module can be imported."""
        return self.ask(f"from importlib.util import find_spec; print(find_spec({module!r}) is not None)") == "True"

    def site_packages(self) -> Path:
        """Where its packages are."""
        return Path(self.ask("import sysconfig; print(sysconfig.get_path('purelib'))"))

    def pip(self, what: str, *arguments: str | Path, cwd: Path | None = None) -> None:
        """Run ``pip install`` silently; its output goes to the log, and its end to the terminal if it fails."""
        command = [self.python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *arguments]
        if os.environ.get("US3L_WHEELS"):
            command += ["--find-links", os.environ["US3L_WHEELS"]]
        done = subprocess.run(
            command, cwd=cwd, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(map(str, command))}\n{done.stdout}\n")
        if done.returncode != 0:
            print("\n".join(done.stdout.splitlines()[-12:]), file=sys.stderr)
            raise SetupError(f"pip could not install {what} (no network?): {last(done)}; its whole output: {self.log}")


def last(process: subprocess.CompletedProcess) -> str:
    """The line of a process's output that says what went wrong."""
    lines = [line for line in f"{process.stderr or ''}\n{process.stdout or ''}".splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "error"))]
    return (errors or lines or ["no output"])[0 if errors else -1].strip()


def install_torch(environment: Environment) -> list[str]:
    """Install torch and torchvision first, by themselves; return them as requirements that keep every later step from
    replacing them. Another torch that is there stays, with the torchvision that fits it."""
    present = {name: environment.version(name) for name in TORCH}
    if not present["torch"]:
        wanted = [f"{name}=={version}" for name, version in TORCH.items()]
        say(f"installing {' '.join(wanted)} (2 to 3 GB with CUDA)")
        environment.pip("torch", *wanted)
    elif not present["torchvision"]:
        say(f"installing torchvision for the torch {present['torch']} that is there")
        environment.pip("torchvision", "torchvision", f"torch=={present['torch']}")
    else:
        say(f"torch {present['torch']} and torchvision {present['torchvision']} are there")
    return [f"{name}=={environment.version(name)}" for name in TORCH]


def install_project(environment: Environment, root: Path, extras: list[str], pinned: list[str]) -> None:
    """Install this repository in place with its dependencies; nothing is built in isolation, so that what compiles
    against torch finds it, and no second setuptools is fetched."""
    say(f"installing this project in place with the extras {', '.join(extras) or 'none'}")
    environment.pip("the build tools", *BUILD)
    target = f".[{','.join(extras)}]" if extras else "."
    environment.pip("this project's dependencies", "--no-build-isolation", "--editable", target, *pinned, cwd=root)


def install_detectron2(
    environment: Environment, requirement: str = DETECTRON2, sha256: str = DETECTRON2_SHA256
) -> None:
    """Put detectron2's Python code into a folder of the environment and that folder on its path by a .pth file.

    The wheel is checked against ``sha256``. A detectron2 that can be imported is left alone: it is an official build,
    or this one from an earlier run.
    """
    if environment.has("detectron2"):
        say("detectron2 is there and left alone")
        return
    say(f"installing detectron2 ({requirement})")
    folder = environment.folder / "detectron2"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        pinned = Path(scratch) / "requirements.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        # pip refuses the tag cp310 on another Python, unless it is told to install for that one into a folder.
        other_python = ["--python-version", "3.10", "--implementation", "cp", "--abi", "none", "--only-binary", ":all:"]
        environment.pip(
            "detectron2", "--no-deps", "--target", folder, *other_python, "--require-hashes", "--requirement", pinned
        )
    strip_detectron2(folder)
    # Last, because it is what makes detectron2 importable: an interrupted installation starts anew.
    (environment.site_packages() / "us3l_detectron2.pth").write_text(f"{folder}\n", encoding="utf-8")
    if not environment.has("detectron2"):
        raise SetupError(f"detectron2 was unpacked to {folder} but cannot be imported; see {environment.log}")


def strip_detectron2(folder: Path) -> None:
    """Keep the package and its licence. Its compiled file fits Python 3.10 and an old torch only, ``tools`` would hide
    ours, and the dist-info asks for a numpy that is too old."""
    for compiled in folder.glob("detectron2/_C.*.so"):
        compiled.unlink()
    shutil.rmtree(folder / "tools", ignore_errors=True)
    for info in folder.glob("*.dist-info"):
        for licence in info.rglob("LICENSE*"):
            licence.replace(folder / "detectron2" / licence.name)
        shutil.rmtree(info)


def fingerprint(root: Path) -> str:
    """A hash of what decides the environment's contents: setup.cfg and this script."""
    contents = [(root / name).read_bytes() for name in ("setup.cfg", "tools/setup_environment.py")]
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


def up_to_date(environment: Environment, root: Path, extras: list[str]) -> bool:
    """Whether an earlier run finished, from the same files, with at least these extras."""
    try:
        stamp = json.loads(environment.stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return stamp["fingerprint"] == fingerprint(root) and set(extras) <= set(stamp["extras"]) and environment.works()


def set_up(root: Path, extras: list[str]) -> None:
    """Make or complete ``root/.venv``."""
    environment, start = Environment(root / ".venv"), time.monotonic()
    if up_to_date(environment, root, extras):
        return
    if not environment.works():
        say(f"making {environment.folder} with Python {sys.version.split()[0]}")
        environment.create()
    pinned = install_torch(environment)
    install_project(environment, root, extras, pinned)
    if "detection" in extras:
        install_detectron2(environment)
    environment.stamp.write_text(json.dumps({"fingerprint": fingerprint(root), "extras": extras}), encoding="utf-8")
    say(f"ready: {environment.folder} ({time.monotonic() - start:.0f} s)")


def say(line: str) -> None:
    """One line for each step."""
    print(f"setup: {line}", flush=True)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str):
        raise SetupError(f"{message} (see --help)")


def main(argv: list[str]) -> int:
    """Read the options and set up; 2 for what the user can mend without a network, 1 for a failed step."""
    parser = Parser(
        description=__doc__,
        epilog="example:\n  python3 tools/setup_environment.py --extras detection dev formats images",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--extras", nargs="*", default=["detection", "dev", "formats", "images"], help="extras of setup.cfg to install"
    )
    try:
        check_python(sys.version_info)
        arguments = parser.parse_args(argv)
        extras = wanted_extras(ROOT, arguments.extras, os.environ.get("US3L_REQUIRE", ""))
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        set_up(ROOT, extras)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
