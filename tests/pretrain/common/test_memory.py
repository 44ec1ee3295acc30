"""A process's memory as the system tells it: the largest so far outlives what is freed, and other systems say so."""

import mmap

import pytest

from pretrain.common import memory
from pretrain.common.errors import UserError
from pretrain.common.memory import process_memory

SIZE = 64 << 20
COARSE = 1 << 20  # bytes by which the kernel's two counts may differ


def test_the_largest_memory_stays_when_the_present_one_falls():
    before = process_memory("VmRSS")
    with mmap.mmap(-1, SIZE) as held:  # the system's: the allocator may have as much left from before
        for page in range(0, SIZE, mmap.PAGESIZE):
            held[page] = 1
        during = process_memory("VmRSS")
    assert during - before > 0.9 * SIZE
    assert process_memory("VmHWM") + COARSE >= during > process_memory("VmRSS") + COARSE


def test_a_system_without_proc_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    with pytest.raises(UserError, match="^the memory of a process is read from /proc, which only Linux has$"):
        process_memory("VmRSS")
