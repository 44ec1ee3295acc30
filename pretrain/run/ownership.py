"""One live job owns a run folder; a second writer refuses to start.

The owner writes ``.owner.json`` (host, process, SLURM job, start), whole from its first moment, and touches it every
``BEAT`` seconds. Whether the owner of a file that is found still lives: see ``pretrain/run/liveness.py``.

An owner that finds itself replaced (its node was given up for lost, and came back) or its file gone stops at its next
beat, and before its next write (``check_owner``).
"""

import functools
import inspect
import json
import operator
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import make_folder, one_line
from pretrain.run import liveness
from pretrain.run.liveness import alive, describe, heartbeat_age, identity, is_identity, is_me, parent
from pretrain.run.membership import is_main_process

FILE_NAME = ".owner.json"
BEING_WRITTEN = 2.0  # seconds in which a file that names no owner may yet be completed


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own ``folder`` (made if need be) for the duration. UserError if a live job owns it, or it can't be written.

    Of the processes of a group only the main one owns; it may own a folder twice.
    """
    if not is_main_process():
        yield
        return
    try:
        made = not folder.exists()
        token = take(folder)
    except OSError as error:
        raise one_line(error, folder) from None
    if token is None:
        yield
        return
    for left in [*folder.glob(f"{FILE_NAME}.*"), *folder.glob(".clock.*")]:
        left.unlink(missing_ok=True)  # of those who died while they tried
    ended = threading.Event()
    threading.Thread(target=_beat, args=(folder / FILE_NAME, token, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        if (read_owner(folder) or {}).get("token") == token:
            (folder / FILE_NAME).unlink(missing_ok=True)
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()  # it failed before it made anything


def owning(argument: str) -> Callable:
    """Decorator: the function owns the folder that its ``argument`` (or an attribute of it) names, see ``owned``."""
    name, _, attribute = argument.partition(".")

    def decorate(function: Callable) -> Callable:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            folder = signature.bind(*args, **kwargs).arguments[name]
            with owned(Path(operator.attrgetter(attribute)(folder) if attribute else folder)):
                return function(*args, **kwargs)

        return wrapped

    return decorate


def check_owner(folder: Path) -> None:
    """Before a write: UserError unless this process, if it is the main one, or the one that started it, still owns
    ``folder``."""
    if not is_main_process():
        return
    owner, me = read_owner(folder), identity()
    if owner is None or not (is_me(owner, me) or is_me(owner, parent(me))):
        by = f"was taken over by {describe(owner)}" if owner else f"has lost its {FILE_NAME}"
        raise UserError(f"{folder} {by}; expected to be its only writer, so nothing more is written")


def take(folder: Path) -> str | None:
    """Become the owner of ``folder`` and return the token that says so; None if this process owns it already."""
    path, me = folder / FILE_NAME, identity()
    make_folder(folder)
    while True:
        if _create(path, me):
            return me["token"]
        owner = read_owner(folder)
        if owner is None:
            _judge_unnamed(path)
            continue
        if is_me(owner, me):
            return None
        reason = alive(owner, path, me)
        if (read_owner(folder) or {}).get("token") != owner["token"]:
            continue  # another has taken it meanwhile: that one is to be judged
        if reason:
            raise UserError(
                f"{folder} belongs to {describe(owner)}, which {reason}; wait for it, end it, or use another folder"
            )
        _remove_stale(path, owner["token"])


def read_owner(folder: Path) -> dict | None:
    """What the owner of ``folder`` wrote; None without one."""
    try:
        owner = json.loads((Path(folder) / FILE_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return owner if is_identity(owner) else None


def owner_lives(folder: Path) -> bool:
    """Whether a live process owns ``folder``, as far as can be told from here."""
    owner = read_owner(folder)
    return owner is not None and bool(alive(owner, Path(folder) / FILE_NAME, {**identity(), "job": None}))


def _create(path: Path, me: dict) -> bool:
    """Make the file with its content in one step, so that nobody finds it empty; False if there is one."""
    whole = path.with_name(f"{path.name}.{me['token']}")
    try:
        whole.write_text(json.dumps(me))
        os.link(whole, path)
        return True
    except (FileExistsError, FileNotFoundError):  # the new owner removes what others have begun
        return False
    except PermissionError:
        if not whole.exists():
            raise
    except OSError as error:
        if not whole.exists() or whole.stat().st_size == 0:
            raise
        del error  # a file system without links
    finally:
        whole.unlink(missing_ok=True)
    try:
        with open(path, "x") as file:
            json.dump(me, file)
        return True
    except FileExistsError:
        return False


def _judge_unnamed(path: Path) -> None:
    """Judge a file that names no owner: wait while it may yet be written, remove it when it is old, else refuse."""
    age = heartbeat_age(path)
    if age >= liveness.STALE:
        path.unlink(missing_ok=True)
    elif age > BEING_WRITTEN or age < -liveness.FUTURE:
        raise UserError(
            f"{path} names no owner (it is empty or damaged) and was written {age:.0f} s ago; "
            f"delete it if nothing runs in {path.parent}"
        )
    else:
        time.sleep(0.1)


def _remove_stale(path: Path, token: str) -> None:
    """Remove the file of a dead owner, and no other: several processes may have found it dead, one removes it."""
    claim = path.with_name(f"{path.name}.{token}")
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:  # another is removing it, or died while it did
        if heartbeat_age(claim) > 60:
            claim.unlink(missing_ok=True)
        time.sleep(0.2)
        return
    if (read_owner(path.parent) or {}).get("token") == token:
        path.unlink(missing_ok=True)
    claim.unlink(missing_ok=True)


def _beat(path: Path, token: str, ended: threading.Event) -> None:
    while not ended.wait(liveness.BEAT):
        owner = read_owner(path.parent)
        replaced = owner is not None and owner["token"] != token
        if (replaced or not path.exists()) and not ended.is_set():
            how = f"was taken over by {describe(owner)}" if replaced else f"has lost its {FILE_NAME}"
            print(f"error: {path.parent} {how}; stopping", file=sys.stderr, flush=True)
            os._exit(1)  # from a thread, with no chance to write anything more
        try:
            os.utime(path)
        except OSError:
            continue  # a file system that fails for a while
