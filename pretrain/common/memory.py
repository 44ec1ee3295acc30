"""What this process takes of the machine's memory."""

from pathlib import Path
from typing import Literal

from pretrain.common.errors import UserError

STATUS = Path("/proc/self/status")


def process_memory(name: Literal["VmRSS", "VmHWM"]) -> int:
    """Bytes of this process in memory: now (``VmRSS``) or at most so far (``VmHWM``).

    getrusage's maximum will not do: a process inherits it from the one that started it.
    Errors: UserError where there is no /proc.
    """
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        raise UserError("the memory of a process is read from /proc, which only Linux has") from None
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
