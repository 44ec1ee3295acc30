#!/usr/bin/env python
"""Run pretrainings, transfers and whole grids as jobs of a SLURM cluster, or of this machine."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from slurm.command import main

if __name__ == "__main__":
    cli.run(main)
