"""Processes that have imported what most programs import and fork for each one that they are told to run.

torch and torchvision take six seconds of a processor to import, the programs that the tests start little else. A
program runs in a process of its own all the same, with its arguments, folder and exit code. Of its environment it sees
all but what is read at the start of Python or torch, such as the number of threads, which is one; and it cannot show
that it imports what it uses, which ``tests/tools/test_command_lines.py`` sees in processes that are new.
``python tests/forked.py FOLDER MODULE...`` is such a process: it imports the modules, found in FOLDER first, reads a
request a line and answers with the exit code.
"""

import atexit
import gc
import importlib
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
SUITE = (str(ROOT), "pretrain.train", "transfer.recognition.evaluate", "transfer.tables")
LIBRARIES = ("", "torch", "torchvision")  # for programs that must not find this suite, or find another copy of it


def run(
    arguments: list[object],
    cwd: str | Path,
    imported: tuple[str, ...] = SUITE,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess:
    """What ``python ARGUMENTS`` returns and prints in the folder ``cwd``, with nothing to read from.

    arguments: a script's, or ``-c CODE ...``. imported: before the fork. environment: by default this process's.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdout", "stderr")]
        for file in files:
            file.touch()
        request = {
            "argv": list(map(str, arguments)), "cwd": str(cwd), "files": list(map(str, files)),
            "environment": AS_IT_IS | dict(os.environ if environment is None else environment),
        }  # fmt: skip
        code = answer(request, imported)
        return subprocess.CompletedProcess(request["argv"], code, *(file.read_text() for file in files))


def answer(request: dict, imported: tuple[str, ...]) -> int:
    """The exit code; as ``subprocess`` has it, below 0 for a signal. TimeoutExpired after ``TIMEOUT``."""
    server = started(os.getpid(), imported)
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
def started(of: int, imported: tuple[str, ...]) -> subprocess.Popen:
    """The process that serves the process ``of``; it ends with it."""
    command, pipes = [sys.executable, __file__, *imported], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | ALONE
    server = subprocess.Popen(command, cwd="/", env=environment, start_new_session=True, **pipes)
    atexit.register(server.stdin.close)
    return server


def serve(folder: str, *modules: str) -> None:
    sys.path[0] = folder
    for module in modules:
        importlib.import_module(module)
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
    sys.orig_argv = [sys.executable, *argv]
    is_code, searched = argv[0] == "-c", [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = ["-c", *argv[2:]] if is_code else argv
    sys.path[:1] = ["" if is_code else str(Path(argv[0]).parent), *map(os.path.abspath, searched)]
    code = 0
    try:
        if is_code:
            exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
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
    serve(*sys.argv[1:])
