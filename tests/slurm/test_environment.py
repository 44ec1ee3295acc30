"""The environment of a job, the same however it is started."""

import dataclasses

from pretrain.common.repository import ROOT
from slurm.environment import job_environment
from slurm.presets import Preset


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the environment depends on of a node."""

    gpus: int = 0


def test_a_job_without_gpus_has_a_thread_for_each_of_its_cores():
    found = job_environment(Asked(), Preset(cpus_per_task=4))
    assert found["OMP_NUM_THREADS"] == "4" and found["PYTHONPATH"].split(":")[0] == str(ROOT)
    assert "OMP_NUM_THREADS" not in job_environment(Asked(gpus=1), Preset(cpus_per_task=4))


def test_the_presets_own_variables_win():
    found = job_environment(Asked(), Preset(cpus_per_task=4, environment={"OMP_NUM_THREADS": 2, "A": "b c"}))
    assert (found["OMP_NUM_THREADS"], found["A"]) == ("2", "b c")
