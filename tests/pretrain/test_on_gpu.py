"""What training steps ask of a GPU, for every backbone and objective: nothing that the host waits for, and no more
operations and memory than ``BUDGETS`` says. To renew that after a change: python -m tests.pretrain.test_on_gpu
"""

import dataclasses
import json
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from pretrain.config import PretrainConfig
from pretrain.objectives.distillation import DistillationSettings
from pretrain.objectives.mocov3 import MoCoV3Settings
from pretrain.objectives.seed import SeedSettings
from pretrain.objectives.supervised import SupervisedSettings
from pretrain.objectives.us3l import US3LSettings
from pretrain.run.device import choose_kernels
from pretrain.run.distributed import World
from pretrain.teachers.features import KeptFeatures
from pretrain.teachers.settings import TeacherSettings
from pretrain.trainer import Trainer
from tests.nullcuda.program import on_null_device
from tests.pretrain.helpers import tiny_config, universal_with_projector
from tests.pretrain.networks import TINY
from tests.requirements import requires

pytestmark = requires("nullcuda")

BUDGETS = Path(__file__).with_name("gpu_budgets.json")
TOLERANCE = 0.05
ITERATIONS = 100
STAGES = {"base": (0, 1), "sub-networks": (98, 99)}  # the second step of each pair counts; the first allocates
HEADS = {"hidden": 16, "outputs": 8}
OWN = TeacherSettings(name="tests.pretrain.helpers:small_teacher", image_size=24)
OBJECTIVES = {
    "us3l mse": US3LSettings(base="mse", **HEADS),
    "us3l gathered": US3LSettings(distill="infonce", gather=True, **HEADS),
    "us3l own targets": US3LSettings(distill="none", aux_head=False, momentum_base=False, momentum_sub=False, **HEADS),
    "mocov3 own": MoCoV3Settings(**HEADS),
    "mocov3 base": MoCoV3Settings(keys="base", **HEADS),
    "supervised": SupervisedSettings(),
    "supervised distilled": SupervisedSettings(distill=True),
    "seed queue": SeedSettings(queue=64, hidden=16),
    "seed mse": SeedSettings(loss="mse", hidden=16),
    "distillation": DistillationSettings(teacher=OWN, hidden=16),
    "distillation of tokens": DistillationSettings(teacher=dataclasses.replace(OWN, output="tokens"), hidden=16),
    "distil and learn": DistillationSettings(teacher=OWN, loss="relational", queue=64, base="infonce", hidden=16),
}
SETTINGS = {
    "fp32": {},
    "bf16": {"training": {"precision": "bf16"}},
    "fp16": {"training": {"precision": "fp16"}},
    "chunks": {"training": {"chunks": 4}},
    "eight chunks": {
        "backbone": {"name": "resnet50", "stem": "cifar", "base_channels": 16},
        "training": {"chunks": 8, "batch_size": 32, "precision": "bf16"},
    },
    "memory low": {"training": {"memory": "low"}},
    "per width": {"training": {"update": "per_width"}},
    "alpha ramps": {"optimizer": {"alpha_ramp": (0.0, 1.0)}},
    "adamw": {"optimizer": {"name": "adamw", "alpha": 0.0}},
    "not deterministic": {"training": {"deterministic": False}},
    "blur and solarize": {"data": {"views": {"blur": 0.5, "solarize": 0.5}}},
}
KEPT = "kept features"
LARGE = "resnet50 imagenet"  # 64 images in bf16, as the paper's text has it
LARGE_SETTINGS = ("training.batch_size=64", "training.chunks=1", "training.precision=bf16")
LARGE_OPERATIONS, TIMES_PLAIN, CHUNKED_OPERATIONS = 5000, 2.2, 15000


def configs(teacher: str) -> dict[str, PretrainConfig]:
    """Tiny runs by name. teacher: SEED's."""
    found = {}
    for name, (backbone, options) in TINY.items():
        base = {} if "stem" in options else {"base_channels": None}
        found[name] = tiny_config(backbone={"name": backbone, **base, **options})
    for name, objective in OBJECTIVES.items():
        if isinstance(objective, SeedSettings):
            objective = dataclasses.replace(objective, teacher=teacher)
        found[name] = dataclasses.replace(tiny_config(), objective=objective)
    return found | {name: tiny_config(**changes) for name, changes in SETTINGS.items()}


def counted(trainer: Trainer, batch) -> dict:
    """Counts by stage. Errors of the device's own: warnings of synchronisations name their line."""
    from tests.nullcuda import counting

    found = {}
    for stage, iterations in STAGES.items():
        for iteration in iterations:
            torch.cuda.set_sync_debug_mode("warn" if iteration == iterations[-1] else "default")
            counting.reset()
            trainer.step(batch, iteration)
            counts = counting.counts()
        torch.cuda.set_sync_debug_mode("default")
        found[stage] = {
            "syncs": counts.syncs, "pageable": counts.pageable, "operations": counts.operations,
            "peak_mib": round(counts.peak_bytes / 2**20, 2),
        }  # fmt: skip
    return found


def all_counts(folder: str) -> dict[str, dict]:
    """By case and stage; and the plain network's step."""
    from benchmark.launches import random_batch

    warnings.simplefilter("ignore")
    device, found = torch.device("cuda:0"), {}
    teacher = str(universal_with_projector().save(Path(folder) / "teacher.safetensors"))
    for name, config in configs(teacher).items():
        choose_kernels(device, config.training.deterministic)
        trainer = Trainer(config, World(0, 1, device), ITERATIONS, classes=10)
        batch = random_batch(config.training.batch_size, trainer.model.num_views, config.data.image_size)
        found[name] = counted(trainer, batch)
    return found | {KEPT: kept_counts()} | large_counts()


def kept_counts() -> dict[str, dict]:
    """Of a student whose teacher's features are read from disk."""
    from benchmark.launches import random_batch

    config, device = dataclasses.replace(tiny_config(), objective=OBJECTIVES["distillation"]), torch.device("cuda:0")
    choose_kernels(device, True)
    trainer, count = Trainer(config, World(0, 1, device), ITERATIONS), config.training.batch_size
    features = np.zeros((count, trainer.model.teacher.outputs), dtype=np.float16)
    trainer.learn_from(KeptFeatures({(0, 0): [features]}, trainer.model.teacher.shape, device))
    return counted(trainer, random_batch(count, trainer.model.num_views, config.data.image_size))


def large_counts() -> dict[str, dict]:
    """ResNet-50 on ImageNet, and the step of plain ResNet-50s of the same widths on the same views."""
    from benchmark.launches import random_batch
    from pretrain.config import load_config
    from tests.conftest import ROOT

    path = ROOT / "configs/pretrain/us3l_resnet50_imagenet.py"
    config, device = load_config(path, list(LARGE_SETTINGS)), torch.device("cuda:0")
    choose_kernels(device, True)
    trainer = Trainer(config, World(0, 1, device), ITERATIONS)
    batch = random_batch(64, 2, 224)
    return {
        LARGE: counted(trainer, batch),
        f"{LARGE}, plain": {"sub-networks": plain_counts(trainer, batch, STAGES["sub-networks"][1])},
    }


def plain_counts(trainer: Trainer, batch, iteration: int) -> dict:
    """One plain network for each width of ``iteration``, both views in one batch, one backward pass, fused SGD."""
    from tests.nullcuda import counting

    backbone, device, widths = trainer.model.backbone, trainer.world.device, trainer.sampler.widths(iteration)
    networks = [backbone.plain(backbone.channels(width), num_classes=256) for width in widths]
    networks = torch.nn.ModuleList(networks).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(networks.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True)
    for _ in range(2):
        counting.reset()
        views = torch.cat(trainer.prepare(batch).views)
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = sum(network(views).float().square().mean() for network in networks)
        loss.backward()
        optimizer.step()
        counts = counting.counts()
    return {"operations": counts.operations, "peak_mib": round(counts.peak_bytes / 2**20, 2)}


@cache
def measured() -> dict[str, dict]:
    """Of one process for all tests of this file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return on_null_device(all_counts, folder, gibibytes=200)


@pytest.mark.parametrize("name", [*TINY, *OBJECTIVES, *SETTINGS, KEPT, LARGE])
def test_no_step_waits_for_the_device_and_none_exceeds_its_budget(name):
    budgets = json.loads(BUDGETS.read_text())
    for stage, found in measured()[name].items():
        assert (found["syncs"], found["pageable"]) == (0, 0), stage
        operations, peak_mib = budgets[name][stage]
        assert found["operations"] == pytest.approx(operations, rel=TOLERANCE), stage
        assert found["peak_mib"] == pytest.approx(peak_mib, rel=TOLERANCE), stage


def test_a_step_of_three_networks_asks_little_more_than_plain_ones_would():
    found = measured()[LARGE]["sub-networks"]["operations"]
    assert found <= LARGE_OPERATIONS
    assert found <= TIMES_PLAIN * measured()[f"{LARGE}, plain"]["sub-networks"]["operations"]
    assert measured()["eight chunks"]["sub-networks"]["operations"] <= CHUNKED_OPERATIONS


if __name__ == "__main__":
    table = {name: {s: [c["operations"], c["peak_mib"]] for s, c in of.items()} for name, of in measured().items()}
    lines = [f"  {json.dumps(name)}: {json.dumps(of)}" for name, of in table.items()]
    BUDGETS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
