"""A process that has imported what most tools import and forks for each program that it is told to run.

torch and torchvision take six seconds of a processor to import, the tools that the tests start little else. A program
runs in a process of its own all the same, with its arguments, folder and exit code. Of its environment it sees all but
what is read at the start of Python or torch, such as the number of threads, which is one; and it cannot show that it
imports what it uses, which ``tests/tools/test_command_lines.py`` sees in processes that are new.
``python -m tests.forked`` is the process; it reads a request a line and answers with the exit code.
"""

import atexit
import gc
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
# One thread, for a fork copies no other; and no restart for another allocator, which would import everything again.
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
AS_IT_IS = {"GLIBC_TUNABLES": ""}
TIMEOUT = 560  # seconds


def run(script: Path, arguments: list[str], cwd: str | Path) -> subprocess.CompletedProcess:
    """What ``script`` returns and prints in the folder ``cwd``, with nothing to read from."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdout", "stderr")]
        for file in files:
            file.touch()
        request = {
            "argv": [str(script), *arguments], "cwd": str(cwd), "environment": AS_IT_IS | dict(os.environ),
            "files": list(map(str, files)),
        }  # fmt: skip
        code = answer(request)
        return subprocess.CompletedProcess(request["argv"], code, *(file.read_text() for file in files))


def answer(request: dict) -> int:
    """The exit code; as ``subprocess`` has it, below 0 for a signal. TimeoutExpired after ``TIMEOUT``."""
    server = started(os.getpid())
    server.stdin.write(json.dumps(request).encode() + b"\n")
    server.stdin.flush()
    if not select.select([server.stdout], [], [], TIMEOUT)[0]:
        os.killpg(server.pid, 9)
        started.cache_clear()
        raise subprocess.TimeoutExpired(request["argv"], TIMEOUT)
    line = server.stdout.readline()
    assert line, f"the process that forks has ended with {server.wait()}"
    return int(line)


@cache
def started(of: int) -> subprocess.Popen:
    """The process that serves the process ``of``; it ends with it."""
    command, pipes = [sys.executable, "-m", "tests.forked"], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ) | ALONE, start_new_session=True, **pipes)
    atexit.register(server.stdin.close)
    return server


def serve() -> None:
    import pretrain.train  # noqa: F401
    import transfer.recognition.evaluate
    import transfer.tables  # noqa: F401

    assert len(os.listdir("/proc/self/task")) == 1, "a fork copies one thread"
    gc.freeze()
    while line := sys.stdin.buffer.readline():
        if not (child := os.fork()):
            execute(**json.loads(line))
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def execute(argv: list[str], cwd: str, environment: dict[str, str], files: list[str]) -> NoReturn:
    """Become the program, and end as it does, but for taking apart what was imported: that takes a second."""
    for number, path in enumerate([os.devnull, *files]):
        os.dup2(os.open(path, os.O_RDWR), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.orig_argv = argv, [sys.executable, *argv]
    sys.path[0] = str(Path(argv[0]).parent)
    code = 0
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
