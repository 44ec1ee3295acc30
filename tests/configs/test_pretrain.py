"""A config for every row of the paper: each trains, and differs from its neighbour only where the paper says so."""

import csv
import warnings
from pathlib import Path

import pytest
import torch

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.config import PretrainConfig, differences, load_config
from pretrain.configfile import Address, find_configs
from pretrain.data.facts import ImageFacts
from pretrain.data.loader import LoadedBatch
from pretrain.run.distributed import World
from pretrain.schedules import ramp
from pretrain.trainer import Trainer
from tests.pretrain.helpers import universal_with_projector

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs/pretrain"
NAMES = [str(found.run) for found in find_configs("configs/pretrain/*.py", ROOT)]


def address(name: str) -> Address:
    """``us3l_resnet18_cifar10`` is a file, ``table7/case12`` the row of one."""
    file, _, row = name.partition("/")
    return Address(CONFIGS / f"{file}.py", row or None)


def config(name: str, *overrides: str) -> PretrainConfig:
    teacher = ["objective.teacher=byol.safetensors"] if "seed" in name else []
    return load_config(address(name), [*teacher, *overrides])


def changed(name: str, neighbour: str) -> list[str]:
    return differences(config(name).as_dict(), config(neighbour).as_dict())


def tiny(name: str, teacher: Path) -> list[str]:
    """Overrides that make any config small enough for two iterations in a second."""
    found = config(name)
    sizes = ["data.image_size=32", "training.batch_size=8", "training.chunks=1", "training.threads=1"]
    if found.backbone.name.startswith("vit"):
        sizes += ["backbone.depth=2", "backbone.patch_size=8"]
    else:
        sizes += [f"backbone.base_channels={32 if found.backbone.private_norms else 8}"]
    if found.objective.name == "seed":
        return [*sizes, "objective.hidden=16", "objective.queue=32", f"objective.teacher={teacher}"]
    if found.objective.name == "distillation":
        return [*sizes, "objective.hidden=16", "objective.teacher.name=tests.pretrain.helpers:small_teacher"]
    heads = ["objective.hidden=16", "objective.outputs=8"] if found.objective.name != "supervised" else []
    return [*sizes, *heads]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """A tiny universal checkpoint with its projector."""
    return universal_with_projector().save(tmp_path_factory.mktemp("teacher") / "universal.safetensors")


def networks(found: PretrainConfig) -> int:
    """How many networks run in an iteration of the last stage (docs/method.md, sections 2 and 5)."""
    if found.width_range[0] == found.width_range[1]:
        return 1
    return found.sampling.networks or (3 if found.sampling.dynamic and not found.sampling.widths else 4)


@pytest.mark.parametrize("name", NAMES)
def test_every_config_trains_for_two_iterations(name, teacher):
    """Of the last stage, where all sub-networks run; the weights move and stay finite."""
    trainer = Trainer(config(name, *tiny(name, teacher)), World(0, 1, torch.device("cpu")), 100, 10, classes=10)
    before = [p.clone() for p in trainer.model.backbone.parameters() if p.requires_grad]
    for iteration in (90, 91):
        images = torch.randint(0, 256, (8, trainer.model.num_views, 3, 32, 32), dtype=torch.uint8)
        keys = torch.stack([torch.full((8,), iteration), torch.arange(8)], 1)
        terms = trainer.step(LoadedBatch(images, torch.arange(8), keys), iteration)
        alone = getattr(trainer.config.objective, "base", "none") != "none" and trainer.model.teacher is not None
        assert len(terms) == networks(config(name)) + alone
        assert all(term.value.isfinite() for term in terms)
    after = [p for p in trainer.model.backbone.parameters() if p.requires_grad]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) and trainer.all_finite()


def yes(value: bool) -> str:
    return "yes" if value else "no"


def test_the_cases_of_table_7_are_those_that_the_paper_lists():
    with open(ROOT / "transfer/paper/table7.csv") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert len(rows) == 17
    for row in rows:
        found = config(f"table7/case{int(row['case']):02}")
        objective, base = found.objective, row["base_loss"]
        assert (objective.base, objective.distill) == (base, row["distill_loss"])
        for key in ("aux_head", "momentum_base", "momentum_sub"):
            assert yes(getattr(objective, key)) == row[key], (row["case"], key)
        recipe = (found.optimizer.lr, found.optimizer.weight_decay)
        assert recipe == ((0.05, 5e-4) if base == "mse" else (0.5, 1e-4))
        assert found.sampling.sandwich and not found.sampling.dynamic and found.optimizer.alpha == 0


LOSSES = {f"objective.{key}" for key in ("base", "distill", "aux_head", "momentum_base", "momentum_sub")}


@pytest.mark.parametrize("case", range(1, 18))
def test_cases_of_table_7_differ_from_case_13_in_their_loss_and_its_recipe_only(case):
    recipe = {"optimizer.lr", "optimizer.weight_decay"} if case <= 8 else set()
    found = set(changed(f"table7/case{case:02}", "table7/case13"))
    assert found <= LOSSES | recipe and recipe <= found


INDIVIDUAL = ["calibration.widths", "width_range"]
NEIGHBOURS = [
    ("us3l_resnet18_cifar10", "us3l_resnet18_cifar100", ["data.name"]),
    ("table7/case13", "us3l_resnet18_cifar100", ["optimizer.alpha", "sampling.dynamic"]),
    ("table8/resnet18_neither", "table7/case13", []),
    ("table8/resnet18_dynamic", "table8/resnet18_neither", ["sampling.dynamic"]),
    ("table8/resnet18_group", "table8/resnet18_neither", ["optimizer.alpha"]),
    ("table8/resnet18_both", "us3l_resnet18_cifar100", []),
    *((f"table8/resnet50_{k}", f"table8/resnet18_{k}", ["backbone.name", "training.chunks"])
      for k in ("neither", "dynamic", "group", "both")),
    *((f"table8/mobilenetv2_{k}", f"table8/resnet18_{k}", ["backbone.base_channels", "backbone.name"])
      for k in ("neither", "dynamic", "group", "both")),
    ("table9/sandwich", "table7/case13", []),
    ("table9/both", "table8/resnet18_dynamic", []),
    ("table9/neither", "table9/sandwich", ["sampling.sandwich"]),
    ("table9/dynamic", "table9/both", ["sampling.sandwich"]),
    ("table2/resnet18_us3l", "us3l_resnet18_cifar100", []),
    ("table2/resnet18_us3l_800ep", "table2/resnet18_us3l", ["training.epochs"]),
    ("table2/resnet18_us_simclr", "table7/case14", ["method"]),
    ("table2/resnet18_us_simsiam", "table7/case02", ["method"]),
    ("table2/resnet18_simclr", "table2/resnet18_us_simclr", ["method", "width_range"]),
    ("table2/resnet18_simsiam", "table2/resnet18_us_simsiam", ["method", "width_range"]),
    ("table2/resnet18_byol", "table7/case03", ["method", "training.keep_projector", "width_range"]),
    ("table2/resnet50_byol", "table2/resnet18_byol", ["backbone.name", "optimizer.weight_decay", "training.chunks"]),
    ("table2/resnet18_seed_mse", "table2/resnet18_seed", ["method", "objective.loss", "optimizer.weight_decay"]),
    ("table1/us3l", "table7/case08", []),
    ("table1/simsiam_individual", "table2/resnet18_simsiam", []),
    ("table1/simsiam_s_net_distill", "table7/case02", ["backbone.private_norms", "method", "sampling.widths"]),
    ("table1/simsiam_s_net", "table1/simsiam_s_net_distill", ["method", "objective.distill"]),
    ("table1/supervised_s_net_distill", "table1/supervised_s_net", ["method", "objective.distill"]),
    ("table1/supervised_individual", "table1/supervised_s_net",
     ["backbone.private_norms", "method", "sampling.widths", "width_range"]),
    ("table3/vit_tiny_mocov3", "table3/vit_tiny_us_mocov3", ["method", "width_range"]),
    ("table3/vit_tiny_us3l", "table3/vit_tiny_us_mocov3", ["method", "objective.keys", "sampling.dynamic"]),
    *((f"table3/vit_small_{k}", f"table3/vit_tiny_{k}", ["backbone.name"]) for k in ("mocov3", "us_mocov3", "us3l")),
    ("table4/resnet50_us3l", "us3l_resnet50_imagenet", []),
    ("table4/resnet18_us3l", "table4/resnet50_us3l", ["backbone.name", "training.chunks"]),
    ("table4/resnet18_us3l_released", "table4/resnet18_us3l",
     ["objective.base", "optimizer.alpha_ramp", "optimizer.group_heads", "optimizer.lr", "training.update"]),
    ("table4/resnet50_us3l_released", "table4/resnet18_us3l_released",
     ["backbone.name", "optimizer.lr_batch", "training.batch_size", "training.chunks"]),
    ("table4/resnet18_us_byol_released", "table4/resnet18_us_byol",
     ["objective.aux_head", "sampling.networks", "training.update"]),
    ("table4/resnet50_us_byol_released", "table4/resnet18_us_byol_released",
     ["backbone.name", "optimizer.lr_batch", "training.batch_size", "training.chunks"]),
    ("table4/resnet18_us_byol", "table4/resnet50_us_byol", ["backbone.name", "training.chunks"]),
    ("table4/resnet50_us_byol", "table4/resnet50_us3l",
     ["method", "objective.aux_head", "objective.base", "optimizer.alpha", "optimizer.lr", "sampling.dynamic"]),
    ("table4/resnet50_byol", "table4/resnet50_us_byol", ["method", "width_range"]),
    ("table4/resnet18_byol", "table4/resnet50_byol", ["backbone.name", "training.chunks"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "neighbour", "keys"), NEIGHBOURS, ids=lambda value: str(value))
def test_a_row_differs_from_its_neighbour_where_the_paper_says_so(name, neighbour, keys):
    assert changed(name, neighbour) == keys


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenetv2"])
def test_the_other_backbones_of_table_2_change_the_backbone_and_its_chunks_only(backbone):
    allowed = {"backbone.name", "backbone.base_channels", "training.chunks"}
    methods = [n.split("_", 1)[1] for n in NAMES if n.startswith(f"table2/{backbone}_")]
    assert len(methods) >= 5
    for method in methods:
        found = set(changed(f"table2/{backbone}_{method}", f"table2/resnet18_{method}"))
        assert found - allowed == ({"optimizer.weight_decay"} if (backbone, method) == ("resnet50", "byol") else set())


def test_recipes_of_section_5():
    supervised, vit = config("table1/supervised_s_net"), config("table3/vit_tiny_us3l")
    assert (supervised.optimizer.lr, supervised.training.epochs) == (1.0, 200)
    assert supervised.data.views.crop_scale == (0.8, 1.0) and supervised.data.views.jitter_p == 0
    first, second = vit.data.views, vit.data.second_views
    assert (first.blur, first.solarize, second.blur, second.solarize) == (1.0, 0.0, 0.1, 0.2)
    assert first.jitter == second.jitter == (0.4, 0.4, 0.2, 0.1) and first.crop_scale == (0.08, 1.0)
    assert (vit.optimizer.name, vit.optimizer.warmup_epochs, vit.optimizer.weight_decay) == ("adamw", 40, 0.1)
    assert (vit.objective.momentum, vit.objective.momentum_end, vit.objective.temperature) == (0.99, 1.0, 0.2)
    assert vit.objective.sync_norms and vit.optimizer.alpha == 0 and vit.training.epochs == 300


@pytest.mark.parametrize(("name", "batch", "chunks"), [("resnet50", 480, 8), ("resnet18", 512, 4)])
def test_the_released_recipe_of_imagenet(name, batch, chunks):
    """docs/method.md, sections 4 and 5, where it says *released*."""
    found = config(f"table4/{name}_us3l_released")
    objective, optimizer, training = found.objective, found.optimizer, found.training
    assert (objective.base, objective.distill, objective.aux_head) == ("mse", "mse", True)
    assert objective.momentum_base and objective.momentum_sub and objective.momentum == objective.momentum_end == 0.99
    assert (training.update, training.epochs, training.batch_size, training.chunks) == ("per_width", 100, batch, chunks)
    assert (optimizer.lr, optimizer.lr_batch, optimizer.weight_decay) == (0.05, batch, 1e-4)
    assert optimizer.group_heads and (optimizer.groups, optimizer.alpha) == (8, 0.05)
    assert [ramp(epoch / 100, optimizer.alpha_ramp) for epoch in (0, 49, 50, 99)] == [0, 0, 1, 1]
    assert found.sampling.dynamic and found.sampling.sandwich
    model = objective.build(create_backbone(name), 1, 1.0, ImageFacts())
    assert model.projector.outputs == model.predictor.outputs == model.aux_head.outputs == 2048
    baseline = config(f"table4/{name}_us_byol_released")
    assert baseline.objective.aux_head and baseline.sampling.networks == 3 and not baseline.optimizer.alpha


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(("table4/", "us3l_resnet50"))])
def test_imagenet_has_the_papers_norms_on_any_number_of_gpus(name):
    """Of 60 images in the released ResNet-50, of 64 in the others, of 128 in ResNet-18."""
    found = config(name)
    of_a_norm = found.training.batch_size // found.training.chunks
    released = name in ("table4/resnet50_us3l_released", "table4/resnet50_us_byol_released")
    assert of_a_norm == (128 if "resnet18" in name else 60 if released else 64)
    assert found.optimizer.weight_decay == 1e-4


def test_another_width_of_an_individual_row_is_one_override():
    found = config("table2/resnet18_byol", "width_range=0.25,0.25")
    assert found.width_range == (0.25, 0.25) and found.calibrated_widths == (0.25,)


def test_distillation_from_a_teacher_asks_for_one_before_anything_starts(tmp_path):
    with pytest.raises(UserError, match=r"objective.teacher is missing; expected a universal checkpoint"):
        load_config(CONFIGS / "table2.py:resnet18_seed", [])
    missing = config("table2/resnet18_seed", f"objective.teacher={tmp_path / 'none'}", "backbone.base_channels=8")
    with pytest.raises(UserError, match="no such file: .*none"):
        Trainer(missing, World(0, 1, torch.device("cpu")), 10)


def test_the_claims_are_small_and_otherwise_the_papers_systems():
    """Beside size and first weights they differ from the full rows in nothing but what the row's loss brings along."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = {n.removeprefix("claims/"): config(n) for n in NAMES if n.startswith("claims/")}
    pairs = {
        "us3l": "us3l_resnet18_cifar10", "us_simclr": "table2/resnet18_us_simclr", "case01": "table7/case01",
        "us_simsiam": "table2/resnet18_us_simsiam", "case13": "table7/case13", "case12": "table7/case12",
        "case10": "table7/case10", "us3l_dynamic_only": "table8/resnet18_dynamic",
        "us3l_group_only": "table8/resnet18_group", "simclr_025": "table2/resnet18_simclr",
    }  # fmt: skip
    size = {
        "backbone.stem", "backbone.base_channels", "backbone.init", "objective.hidden", "objective.outputs",
        "data.name", "method", "training.epochs", "training.batch_size", "training.chunks",
        "training.checkpoint_interval", "width_range",
    }  # fmt: skip
    for name, full in pairs.items():
        found = set(differences(small[name].as_dict(), config(full).as_dict()))
        assert {k for k in found if not k.startswith(("calibration.", "monitor."))} <= size, name
