#!/usr/bin/env python
"""Evaluate a universal checkpoint at one or more widths: recognition or detection, by the name of the target."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.run.allocator import restart_for_cpu

if __name__ == "__main__":
    restart_for_cpu()
    from transfer.command import main  # imports torch, which has to wait for the restart

    cli.run(main)
