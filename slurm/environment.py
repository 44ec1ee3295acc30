"""What a job's processes find in their environment, whoever starts them."""

import os

from pretrain.common.repository import ROOT
from pretrain.run.allocator import lacking_variables
from slurm.grid.graph import Node
from slurm.presets import Preset


def job_environment(node: Node, preset: Preset) -> dict[str, str]:
    """This repository on the path; without GPUs the settings of a fast CPU process, and as many threads as cores were
    asked for; then the preset's own variables, which win."""
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    if not node.gpus:
        variables |= lacking_variables(os.environ)
        if preset.cpus_per_task:
            variables["OMP_NUM_THREADS"] = str(preset.cpus_per_task)
    return variables | {name: str(value) for name, value in preset.environment.items()}
