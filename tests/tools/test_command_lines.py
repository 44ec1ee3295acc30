"""Every tool runs by its path from anywhere and explains itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.command import SUBCOMMANDS
from tests import programs
from transfer.command import parse
from transfer.targets import TARGETS

TOOLS = sorted((Path(__file__).resolve().parents[2] / "tools").glob("*.py"))


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_help_has_an_example_wherever_it_is_called(tool, tmp_path):
    done = programs.tool(tool.stem, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert os.access(tool, os.X_OK) and tool.read_text().startswith("#!/usr/bin/env python")
    assert "example" in done.stdout and f"tools/{tool.name}" in done.stdout


HELP = [
    *([tool.name] for tool in TOOLS),
    *(["transfer.py", target] for target in TARGETS),
    *(["launch.py", name] for name in SUBCOMMANDS),
]


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_does_not_wait_for_torch_and_says_what_it_is_of(words):
    name, *rest = words
    text = (
        "import runpy, sys; sys.argv = [sys.argv[1], *sys.argv[2:]]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", text, str(TOOLS[0].parent / name), *rest, "--help"]
    environment = {**os.environ, "GLIBC_TUNABLES": ""}  # no restart, which would leave this program
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert not rest or f"usage: {name} {rest[0]}" in done.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_the_example_of_a_target_is_read_as_it_stands(target):
    """And asks for nothing more: a folder needs --data."""
    options = TARGETS[target].command.example(target).split()
    arguments = parse(target, options)
    assert arguments.widths and (target != "folder" or arguments.data is not None)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_an_unknown_option_is_one_line_and_code_2(tool, tmp_path):
    done = programs.tool(tool.stem, "--no-such-option", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
