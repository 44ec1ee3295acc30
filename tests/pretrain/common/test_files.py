"""Files are whole or not there, whoever writes, whatever goes wrong; a refusal of the system is one line."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pretrain.common.errors import UserError
from pretrain.common.files import (
    ABANDONED,
    PREFIX,
    append_line,
    cut_lines,
    file_hash,
    read_lines,
    remove_abandoned,
    replacing,
    replacing_folder,
    write_bytes,
    write_json,
    write_text,
)

ROOT = Path(__file__).parents[3]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def torch_file(path):
    torch.save({"x": torch.zeros(1 << 18)}, path)


def safetensors_file(path):
    save_file({"x": torch.zeros(1 << 18)}, path)


WRITERS = {"bytes": lambda path: path.write_bytes(bytes(1 << 20)), "torch": torch_file, "safetensors": safetensors_file}


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path):
    path = tmp_path / "a/b/c.txt"
    assert write_text(path, "old") == path and write_text(path, "é").read_bytes() == "é".encode()
    assert write_bytes(path, b"\0").read_bytes() == b"\0" and names(path.parent) == ["c.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "x.txt", "old")
    with pytest.raises(KeyError), replacing(path) as partial:
        partial.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and names(tmp_path) == ["x.txt"]


def test_the_temporary_file_has_the_suffix_and_lies_in_the_same_folder(tmp_path):
    with replacing(tmp_path / "config.py") as partial:
        assert partial.parent == tmp_path and partial.suffix == ".py" and str(os.getpid()) in partial.name


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_the_mode_follows_the_umask(tmp_path, write, umask, mode):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "x") as partial:
            write(partial)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_one_line_and_nothing_is_left(full_disk, write):
    with (
        pytest.raises(UserError, match=r"^cannot write .*/x\.bin: No space left on device; expected"),
        replacing(full_disk / "x.bin") as partial,
    ):
        write(partial)
    assert names(full_disk) == []


def test_a_full_disk_keeps_what_a_log_held(full_disk):
    append_line(full_disk / "log", {"n": 1})
    with pytest.raises(UserError, match="No space left"):
        append_line(full_disk / "log", {"n": "x" * (1 << 20)})
    assert read_lines(full_disk / "log") == [{"n": 1}]


def test_a_failure_that_is_not_the_disks_stays_what_it_is(tmp_path):
    with pytest.raises(RuntimeError, match="features differ"), replacing(tmp_path / "x") as partial:
        partial.write_text("x")
        raise RuntimeError("features differ")
    with pytest.raises(PermissionError), replacing(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/photo.jpg")


@pytest.mark.parametrize(
    ("name", "why"),
    [("folder", "Is a directory"), ("file/x", "Not a directory"), ("x" * 256, "File name too long")],
)
def test_a_place_that_takes_no_file_is_one_line_before_the_work(tmp_path, name, why):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"^cannot write .*: {why}; expected a place"), replacing(tmp_path / name):
        pytest.fail("the work began")
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        write_text(tmp_path / "x", "")


def test_the_longest_name_that_the_system_takes_is_written(tmp_path):
    assert write_text(tmp_path / f"{'x' * 250}.json", "{}").read_text() == "{}"


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        read = pool.submit((tmp_path / "pipe").read_text)
        write_text(tmp_path / "pipe", "through")
    assert read.result() == "through" and names(tmp_path) == ["pipe"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(KeyError), replacing_folder(tmp_path / "data") as partial:
        write_text(partial / "a/x", "x")
        raise KeyError
    assert names(tmp_path) == []
    with replacing_folder(tmp_path / "data") as partial:
        write_text(partial / "a/x", "x")
    assert names(tmp_path) == ["data"] and (tmp_path / "data/a/x").read_text() == "x"
    with pytest.raises(UserError, match="cannot write"), replacing_folder(tmp_path / "data"):
        pytest.fail("the work began")


def test_many_writers_of_one_name_never_meet(tmp_path):
    path = tmp_path / "x.json"
    contents = [str(i) * 50_000 for i in range(10)]
    with ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(write_text, path, contents[i % 10]) for i in range(100)]
        while not all(write.done() for write in writes):
            assert not path.exists() or path.read_text() in contents
    assert all(write.result() == path for write in writes) and names(tmp_path) == ["x.json"]


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_clears_up(tmp_path):
    path = write_text(tmp_path / "x.txt", "old")
    code = (
        f"import sys, time; sys.path[0] = {str(ROOT)!r}\nfrom pretrain.common.files import replacing\n"
        f"with replacing({str(path)!r}) as partial:\n partial.write_text('half'); print(flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    writer.stdout.readline()
    remove_abandoned(tmp_path)
    assert len(names(tmp_path)) == 2, "a living writer's file stays"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert path.read_text() == "old"
    write_text(tmp_path / "other.txt", "")
    assert names(tmp_path) == ["other.txt", "x.txt"]


def test_what_another_machine_left_goes_after_a_day(tmp_path):
    old, new, foreign = (tmp_path / name for name in (f"{PREFIX}-0a-1-b", f"{PREFIX}-0a-1-c.py", f"{PREFIX}-notes"))
    for path in (old, new, foreign):
        path.touch()
    os.utime(old, (time.time() - ABANDONED - 60,) * 2)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == sorted([new.name, foreign.name])


def test_json_never_says_nan(tmp_path):
    assert json.loads(write_json(tmp_path / "x.json", {"b": 1, "a": (2,)}).read_text()) == {"a": [2], "b": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [2], "b": 1}


@pytest.mark.parametrize("cut", [b'{"n": 3', b'{"n": 3}', b"\xff\xfe", b'{"n": '])
def test_a_last_line_that_a_crash_cut_is_left_out_and_the_next_is_whole(tmp_path, cut):
    path = tmp_path / "log.jsonl"
    append_line(path, {"n": 1})
    append_line(path, {"n": 2})
    with open(path, "ab") as file:
        file.write(cut)
    assert read_lines(path) == [{"n": 1}, {"n": 2}]
    append_line(path, {"n": 4})
    assert [line["n"] for line in read_lines(path)] in ([1, 2, 4], [1, 2, 3, 4])


def test_lines_that_are_no_objects_are_left_out_and_a_missing_file_has_none(tmp_path):
    (tmp_path / "x").write_bytes(b'[1]\nnull\n{"a": 1}\n{"a"\n\n\xff\n' + b"[" * 100_000 + b'\n{"a": 2}\n')
    assert read_lines(tmp_path / "x") == [{"a": 1}, {"a": 2}] and read_lines(tmp_path / "none/x") == []
    assert read_lines(tmp_path / "x", last=12) == [{"a": 2}]
    with pytest.raises(UserError, match="cannot read .*: Is a directory"):
        read_lines(tmp_path)


def test_lines_are_cut_back_in_one_step(tmp_path):
    path = tmp_path / "x"
    path.write_text('{"n": 1}\n{"n": 2}\n{"n": 3}\n{"n"')
    assert cut_lines(path, lambda line: line["n"] <= 2) == [{"n": 1}, {"n": 2}]
    assert path.read_text() == '{"n": 1}\n{"n": 2}\n'
    assert cut_lines(tmp_path / "none", bool) == [] and names(tmp_path) == ["x"]


def test_a_hash_is_of_the_bytes(tmp_path):
    assert file_hash(write_text(tmp_path / "x", "abc")).startswith("ba7816bf8f01cfea")
