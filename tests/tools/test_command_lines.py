"""Every tool runs by its path from anywhere and explains itself."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = sorted((Path(__file__).resolve().parents[2] / "tools").glob("*.py"))


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_help_has_an_example_wherever_it_is_called(tool, tmp_path):
    done = subprocess.run(
        [sys.executable, tool, "--help"], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "example" in done.stdout and f"tools/{tool.name}" in done.stdout


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_an_unknown_option_is_one_line_and_code_2(tool, tmp_path):
    done = subprocess.run(
        [sys.executable, tool, "--no-such-option"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
