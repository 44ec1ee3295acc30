"""What every command line shares: exit codes, one-line errors, devices."""

import os
import subprocess
import sys

import pytest
import torch

from pretrain.common import cli
from pretrain.common.errors import BadImageError, NonFiniteLossError, UserError
from tests.conftest import ROOT


def exit_of(main, capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    return ended.value.code, capsys.readouterr().err


def raising(error: Exception):
    def main(argv: list[str]) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("no such file: x"), 2, "error: no such file: x\n"),
        (NonFiniteLossError("the loss became nan"), 1, "error: the loss became nan\n"),
        # what a DataLoader's worker makes of one
        (UserError('Caught UserError in worker 0.\n  File "x"\npretrain.errors.UserError: cannot read a.jpg\n'), 2,
         "error: cannot read a.jpg\n"),
        (BadImageError('Caught BadImageError in DataLoader worker process 0.\nOriginal Traceback (most recent call '
                       'last):\n  File "x"\npretrain.common.errors.BadImageError: cannot read a UserError: b.jpg\n'), 2,
         "error: cannot read a UserError: b.jpg\n"),
        (UserError("no such file: a\nb\udcff.jpg"), 2, "error: no such file: a b\\udcff.jpg\n"),
    ],
)  # fmt: skip
def test_errors_that_a_user_can_mend_are_one_line(capsys, error, code, message):
    assert exit_of(raising(error), capsys) == (code, message)


def test_a_program_error_keeps_its_traceback():
    with pytest.raises(KeyError):
        cli.run(raising(KeyError("bug")))


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("write", ["print", "__import__('rich.console').console.Console().print"])
def test_a_reader_that_has_left_ends_a_program_without_a_word(unbuffered, write):
    code = f"from pretrain.common.cli import run; run(lambda argv: [{write}('x' * 1000) for _ in range(1000)])"
    program = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    program.stdout.close()
    assert (program.stderr.read(), program.wait()) == (b"", 141)


def test_a_closed_output_is_no_error():
    code = "from pretrain.common.cli import run; run(lambda argv: print('nobody hears'))"
    command = f'{sys.executable} -c "{code}" >&-'
    assert subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True).returncode == 0


def test_another_broken_pipe_is_a_program_error(monkeypatch):
    def broken(argv):
        raise BrokenPipeError("of a worker")

    monkeypatch.setattr("sys.argv", ["program"])
    with open(os.devnull, "w") as out, pytest.raises(BrokenPipeError):
        monkeypatch.setattr("sys.stdout", out)
        cli.run(broken)


def test_success_is_exit_code_0(capsys):
    assert exit_of(lambda argv: None, capsys) == (0, "")


def test_a_device_that_is_not_there_is_refused():
    assert cli.checked_device("cpu") == "cpu"
    assert cli.checked_device(None) == cli.default_device()
    absent = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(UserError, match=f"no device '{absent}' here; expected .*cpu"):
        cli.checked_device(absent)
