"""Files that are whole or not there: one way to write, to read lines of JSON, and to hash.

A file is written under a temporary name beside its own, brought to the disk, and renamed. A reader, or a run that is
killed at any moment, sees the old file or the new one. The temporary name says which process of which machine writes:
two writers never meet, and what a killed one leaves is removed by the next that writes into the same folder.
"""

import errno
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pretrain.common.errors import UserError

PREFIX = ".partial"
ABANDONED = 24 * 3600.0  # seconds after which the temporary file of a process that can't be asked for is a dead one's
PROBE = 1 << 20  # bytes that a disk which is not full has room for
REFUSALS = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EACCES,
    errno.EPERM, errno.EFBIG, errno.EIO, errno.ENOTEMPTY, errno.EEXIST, errno.ELOOP, errno.ENOENT,
}  # fmt: skip


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file with the same suffix in the same folder; takes the place of ``path`` when the block succeeds.

    For a library that writes to a path; ``write_text`` and ``write_bytes`` are for what is in memory. The folder is
    made if need be, the file's mode follows the umask. A pipe or a device, such as /dev/stdout, is written to directly.
    Errors: UserError where the path can't be written (full, read-only, a folder, a name too long); nothing is left.
    """
    path = Path(path)
    with _refusing(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path
            return
        partial = _begin(path)
        try:
            with open(partial, "xb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777
            yield partial
            os.chmod(partial, mode)  # libraries may have made another file of this name, for the owner alone
            _sync(partial)
            os.replace(partial, path)
            _sync(path.parent)
        except (OSError, UserError):
            raise
        except Exception as error:
            _explain(partial, error)
            raise
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder that gets the name ``path``, which must be free, when the block succeeds; else as above."""
    path = Path(path)
    with _refusing(path):
        partial = _begin(path, folder=True)
        try:
            partial.mkdir()
            yield partial
            for found in sorted(partial.rglob("*"), reverse=True):
                _sync(found)
            _sync(partial)
            os.replace(partial, path)
            _sync(path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def make_folder(path: str | Path) -> None:
    """Make a folder, and those above it, where there is none. UserError where that is not possible."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise one_line(error, Path(path)) from None


def write_text(path: str | Path, text: str) -> Path:
    """Write ``text`` as UTF-8, and names of files that are none as their bytes, see ``replacing``."""
    try:
        return write_bytes(path, text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # halves of characters, as JSON can hold them
        return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write ``content``, see ``replacing``."""
    with replacing(path) as partial:
        partial.write_bytes(content)
    return Path(path)


def write_json(path: str | Path, value: object, sort_keys: bool = False) -> Path:
    """Write ``value`` as indented JSON, see ``replacing``. ValueError for NaN and infinities, which JSON can't say."""
    return write_text(path, json.dumps(value, indent=2, sort_keys=sort_keys, allow_nan=False) + "\n")


def save_tensors(content: dict, path: Path) -> None:
    """``torch.save`` to a file whose bytes do not depend on its name, which torch would write into it."""
    import torch

    with open(path, "wb") as file:
        torch.save(content, file)


def append_line(path: str | Path, record: dict) -> None:
    """Append ``record`` as a line of JSON. A line that a crash cut short before it stays a line of its own."""
    with _refusing(Path(path)), open(path, "ab+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        cut = file.read() not in (b"", b"\n")
        file.write(b"\n" * cut + json.dumps(record).encode() + b"\n")


def read_lines(path: str | Path, last: int | None = None) -> list[dict]:
    """The objects of a file with one JSON object a line; none if there is no such file.

    A last line without its end is left out, and so is whatever is no object. last: look at so many bytes of the end.
    """
    try:
        with open(path, "rb") as file:
            if last is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - last))
            whole = file.read().rpartition(b"\n")[0]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return [record for record in map(_parsed, whole.split(b"\n")) if isinstance(record, dict)]


def read_object(path: str | Path) -> dict:
    """The JSON object that a file holds; empty where there is no such file, or it holds anything else."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def cut_lines(path: str | Path, keep: Callable[[dict], bool]) -> list[dict]:
    """Leave those lines of ``read_lines`` that ``keep``, in one step, and return them."""
    kept = [record for record in read_lines(path) if keep(record)]
    if Path(path).exists():
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
    return kept


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remove_abandoned(folder: str | Path) -> None:
    """Remove the temporary files of writers that are dead: of this machine's by their number, of others by age."""
    for path in Path(folder).glob(f"{PREFIX}-*"):
        writer = path.name.split(".")[1].split("-")
        if len(writer) != 4 or not writer[2].isdigit():
            continue
        _, machine, number, _ = writer
        if not (_lives(int(number)) if machine == _machine() else _age(path) < ABANDONED):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def one_line(error: OSError, path: Path) -> UserError:
    """What the system said about writing ``path``."""
    return UserError(f"cannot write {path}: {error.strerror or error}; expected a place that can be written")


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write ``path`` into a UserError; what else the block raises passes."""
    try:
        yield
    except OSError as error:
        named = [name for name in (error.filename, error.filename2) if isinstance(name, (str, Path))]
        elsewhere = named and not any(_of(Path(name), path) for name in named)
        if elsewhere or error.errno not in REFUSALS:
            raise
        raise one_line(error, path) from error


def _of(name: Path, path: Path) -> bool:
    """Whether an error that names ``name`` is about writing ``path``: itself, its folders or its temporary file."""
    return name == path or name in path.parents or any(part.startswith(f"{PREFIX}-") for part in name.parts)


def _begin(path: Path, folder: bool = False) -> Path:
    """The temporary name for ``path``, where everything that can be known before the work speaks for it."""
    with suppress(FileNotFoundError):
        os.lstat(path)  # refuses a name that is too long, and one below a file
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent)
    suffix = path.suffix or ".part"  # torch refuses a name that is nothing but a suffix
    return path.with_name(f"{PREFIX}-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}{suffix}")


def _explain(partial: Path, error: Exception) -> None:
    """OSError if the disk is full: torch, numpy and safetensors say it in words of their own, or only that they
    failed."""
    try:
        with open(partial, "ab") as file:
            file.write(bytes(PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as refusal:
        raise refusal from error


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that can't do so for folders
            raise
    finally:
        os.close(number)


def _machine() -> str:
    """This machine, or container: process numbers mean something within it."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
