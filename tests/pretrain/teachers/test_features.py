"""Features that are kept are the live teacher's over the same views, and cost as many passes as there are views."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.config import validate
from pretrain.data.images.datasets import TensorImages
from pretrain.data.loader import CutViews
from pretrain.data.order import IterationBatches
from pretrain.run.distributed import World
from pretrain.teachers import features
from pretrain.teachers.features import keep_features
from pretrain.train import pretrain
from pretrain.trainer import Trainer
from pretrain.universal import load_universal
from tests.pretrain.data.images.layouts import photographs
from tests.pretrain.helpers import small_teacher, tiny_config
from tests.pretrain.processes import run_processes

SEEN: list[int] = []  # images of each call of the teacher


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = small_teacher()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        SEEN.append(len(x))
        return self.network(x)


def config(views: int | None = 2, cache: str | None = None, opposite: bool = True, **changes):
    values = tiny_config(**changes).as_dict()
    teacher = {"name": f"{__name__}:Counting", "image_size": 24, "fixed_views": views, "cache": cache}
    return validate(
        values | {"objective": {"name": "distillation", "teacher": teacher, "hidden": 16, "opposite": opposite}}
    )


def trainer(world: World | None = None, **settings) -> Trainer:
    return Trainer(config(**settings), world or World(0, 1, torch.device("cpu")), 100, classes=10)


def images(count: int = 21) -> TensorImages:
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return TensorImages(pixels, torch.arange(count) % 10, [str(n) for n in range(10)])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(features, "BLOCK", 8)
    SEEN.clear()


def test_what_is_kept_is_the_live_teacher_over_the_same_views(tmp_path):
    found, source = trainer(), images()
    kept = keep_features(found, source, 9, tmp_path)
    cut = CutViews(source, found.augmentations, 32, found.config.training.seed)
    for keys in ([(0, 3), (0, 20), (0, 8)], [(1, 0), (1, 7)]):
        loaded = cut.__getitems__(keys)
        live = found.prepare(loaded).taught
        torch.testing.assert_close(kept(loaded.keys), live, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(kept(torch.tensor([[0, 3]])), kept(torch.tensor([[1, 3]])), atol=1e-2)


def test_a_step_from_disk_is_the_step_of_the_live_teacher_within_float16(tmp_path):
    live, kept, source = trainer(), trainer(), images()
    kept.learn_from(keep_features(kept, source, 9, tmp_path))
    cut = CutViews(source, live.augmentations, 32, live.config.training.seed)
    SEEN.clear()
    loaded = cut.__getitems__([(1, index) for index in range(8)])
    a, b = (torch.stack([term.value for term in found.step(loaded, 90)]) for found in (live, kept))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-3)
    assert SEEN == [16]  # the live one's two views of 8 images


def test_passes_are_kept_block_by_block_and_for_other_trainings_of_the_same_views(tmp_path):
    source, cache = images(), str(tmp_path / "shared")
    first = keep_features(trainer(cache=cache), source, 9, tmp_path / "a")
    assert sum(SEEN[1:]) == 2 * 2 * 21  # one image to find out what it gives, then 2 fixed views, a pair each
    SEEN.clear()
    other = trainer(cache=cache, backbone={"base_channels": 16}, training={"iterations": 20})
    again = keep_features(other, source, 9, tmp_path / "b")
    keys = torch.tensor([[1, 20], [1, 2]])
    assert SEEN == [1] and torch.equal(first(keys), again(keys))
    next(Path(cache).glob("*.json")).unlink()  # as an interrupted pass leaves it
    keep_features(other, source, 9, tmp_path / "b")
    assert sum(SEEN[1:]) in (16, 10)  # that block's views alone


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"seed": 1}}, {"data": {"views": {"flip": 0.0}}}, {"training": {"precision": "bf16"}},
        {"opposite": False},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_the_features_depend_on_has_files_of_its_own(tmp_path, changes):
    source, cache = images(), str(tmp_path)
    keep_features(trainer(cache=cache), source, 9, tmp_path)
    before = set(tmp_path.glob("*.npy"))
    keep_features(trainer(cache=cache, **changes), source, 9, tmp_path)
    assert len(set(tmp_path.glob("*.npy")) - before) == len(before) // (2 if "opposite" in changes else 1)


def test_a_short_training_has_no_more_passes_than_epochs(tmp_path):
    keep_features(trainer(views=5), images(), 1, tmp_path)
    assert sum(SEEN[1:]) == 2 * 21


def test_epochs_go_through_the_fixed_views_in_orders_of_their_own():
    batches = list(IterationBatches(21, 8, 0, 0, 8, fixed=2))
    assert [{look for look, _ in batch} for batch in batches] == [{0}, {0}, {1}, {1}, {0}, {0}, {1}, {1}]
    free = list(IterationBatches(21, 8, 0, 0, 8))
    assert [[i for _, i in batch] for batch in batches] == [[i for _, i in batch] for batch in free]


def kept_by_process(rank: int, folder: Path) -> torch.Tensor:
    features.BLOCK = 8
    found = keep_features(trainer(World(rank, 2, torch.device("cpu"))), images(), 9, folder)
    return found(torch.tensor([[0, 3], [1, 20]]))


def test_two_processes_share_the_passes(tmp_path):
    alone = keep_features(trainer(), images(), 9, tmp_path / "one")(torch.tensor([[0, 3], [1, 20]]))
    for found in run_processes(kept_by_process, 2, tmp_path / "two"):
        torch.testing.assert_close(found, alone, rtol=1e-3, atol=1e-3)


def test_a_whole_training_costs_as_many_passes_as_there_are_fixed_views(tmp_path):
    """40 digits in epochs of 5 batches; and a run that is resumed ends with the same bytes."""
    of = config(opposite=False, training={"iterations": 20, "checkpoint_interval": 7})
    one = load_universal(pretrain(of, tmp_path / "one", False, "cpu"))
    assert sum(SEEN[1:]) == 2 * 40 and one.metadata["teacher"] == f"{__name__}:Counting"
    SEEN.clear()
    pretrain(of, tmp_path / "two", False, "cpu")
    for path in sorted((tmp_path / "two/checkpoints").glob("*.pt"))[1:]:
        path.unlink()
    (tmp_path / "two/universal.safetensors").unlink()
    SEEN.clear()
    two = load_universal(pretrain(of, tmp_path / "two", True, "cpu"))
    assert SEEN == [1] and two.hash == one.hash


def test_a_finished_run_asks_its_teacher_nothing(tmp_path):
    of = config(opposite=False, training={"iterations": 3})
    pretrain(of, tmp_path / "run", False, "cpu")
    shutil.rmtree(tmp_path / "run/teacher")
    SEEN.clear()
    pretrain(of, tmp_path / "run", True, "cpu")
    assert SEEN == [1], "the probe alone"


def test_what_the_monitor_lacks_is_said_before_the_first_pass(tmp_path):
    root = photographs(tmp_path / "images", each=16)
    of = config(
        opposite=False, training={"iterations": 3}, monitor={"knn_interval": 2},
        data={"name": "folder", "root": str(root), "images_per_class": None},
    )  # fmt: skip
    with pytest.raises(UserError, match="no 'test or val or validation' folder"):
        pretrain(of, tmp_path / "run", False, "cpu")
    assert SEEN == [1] and not (tmp_path / "run").exists()


def test_features_that_float16_cannot_hold_are_not_kept(tmp_path):
    found = trainer()
    with torch.no_grad():
        found.model.teacher.network.network[3].weight.mul_(1e6)
    with pytest.raises(UserError, match="has features beyond float16; expected no objective.teacher.fixed_views"):
        keep_features(found, images(), 9, tmp_path)
    assert not list(tmp_path.glob("**/*.npy"))


def test_no_room_and_nameless_images_are_said_before_the_first_pass(tmp_path, monkeypatch):
    class Nameless(torch.utils.data.Dataset):
        labels, classes = torch.zeros(3, dtype=torch.int64), ["a"]

        def __len__(self):
            return 3

    with pytest.raises(UserError, match="which Nameless does not say; expected TensorImages"):
        keep_features(trainer(), Nameless(), 9, tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(UserError, match=r"features need 0.0 GB, .* expected fewer objective.teacher.fixed_views, or"):
        keep_features(trainer(), images(), 9, tmp_path)
    assert SEEN == [1, 1]
