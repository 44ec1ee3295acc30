"""A process's memory as the system tells it: the largest so far outlives what is freed, and other systems say so."""

import numpy as np
import pytest

from pretrain.common import memory
from pretrain.common.errors import UserError
from pretrain.common.memory import process_memory

MEGABYTES = 64
COARSE = 1 << 20  # bytes by which the kernel's two counts may differ


def test_the_largest_memory_stays_when_the_present_one_falls():
    before = process_memory("VmRSS")
    held = np.ones(MEGABYTES << 20, np.uint8)
    during = process_memory("VmRSS")
    del held
    assert during - before > 0.9 * (MEGABYTES << 20)
    assert process_memory("VmHWM") + COARSE >= during > process_memory("VmRSS") + COARSE


def test_a_system_without_proc_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    with pytest.raises(UserError, match="^the memory of a process is read from /proc, which only Linux has$"):
        process_memory("VmRSS")
