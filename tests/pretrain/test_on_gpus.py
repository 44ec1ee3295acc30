"""Two processes with a GPU each: what they send each other in a step, and that nothing waits or warns."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pretrain.run.device import choose_kernels
from pretrain.run.distributed import World
from pretrain.trainer import Trainer
from tests.nullcuda.program import ROOT, environment
from tests.pretrain.helpers import universal_with_projector
from tests.pretrain.test_on_gpu import configs
from tests.requirements import requires

pytestmark = requires("nullcuda")

CASES = ("seed queue", "mocov3 base", "resnet50-imagenet")


def process(rank: int, folder: str) -> None:
    """Counts of a step of each of ``CASES`` by this process, and the bytes of its gradients."""
    import warnings

    from benchmark.launches import random_batch
    from tests.nullcuda import counting

    device, found = torch.device("cuda", rank), {}
    torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, device_id=device
    )
    choose_kernels(device, True)
    for name, config in configs(f"{folder}/teacher.safetensors").items():
        if name not in CASES:
            continue
        with warnings.catch_warnings(record=True) as warned:
            trainer = Trainer(config, World(rank, 2, device), 100, classes=10)
            batch = random_batch(config.training.batch_size // 2, trainer.model.num_views, config.data.image_size)
            for iteration in range(88, 100):  # DistributedDataParallel times the first ten, and waits for that
                counting.reset()
                trainer.step(batch, iteration)
                counts = counting.counts()
        gradients = sum(4 * p.numel() for p in trainer.model.parameters() if p.requires_grad)
        found[name] = vars(counts) | {"gradients": gradients, "warned": [str(one.message) for one in warned]}
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict]:
    """Of the first process."""
    folder = tmp_path_factory.mktemp("two")
    universal_with_projector().save(folder / "teacher.safetensors")
    code = "import sys, tests.nullcuda.counting; from tests.pretrain.test_on_gpus import process as run; "
    code += "run(int(sys.argv[1]), sys.argv[2])"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank), str(folder)], cwd=ROOT, env=environment(devices=2),
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [one.communicate(timeout=300)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0], said
    assert not any("strides" in text for text in said), said  # DistributedDataParallel says it in C++
    return json.loads((folder / "0.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_nothing_waits_and_nothing_warns(name, found):
    assert (found[name]["syncs"], found[name]["pageable"]) == (0, 0)
    assert not [text for text in found[name]["warned"] if "prototype" not in text]


def test_seed_sends_its_gradients_and_its_teachers_fresh_projections_but_not_its_queue(found):
    counts = found["seed queue"]
    assert 0 < counts["collective_bytes"] - counts["gradients"] < 2048


def test_a_backbone_without_synchronised_norms_sends_each_gradient_once(found):
    counts = found["resnet50-imagenet"]
    assert counts["collective_bytes"] == counts["gradients"]
