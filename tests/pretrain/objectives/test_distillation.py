"""Distillation by its definitions in float64, alone, beside a self-supervised loss, and in every order of passes."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch.nn.functional import normalize

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.config import PretrainConfig, _lasting, differences, load_config, validate
from pretrain.data.facts import ImageFacts
from pretrain.data.loader import LoadedBatch
from pretrain.finish import metadata
from pretrain.objectives.distillation import Distillation, DistillationSettings
from pretrain.objectives.step import Batch
from pretrain.objectives.us3l import US3L
from pretrain.run.distributed import World
from pretrain.slimmable.norms.statistics import BatchStatistics
from pretrain.teachers.settings import TeacherSettings
from pretrain.trainer import Trainer
from tests.pretrain.helpers import tiny_config
from tests.pretrain.processes import run_processes

TEACHER = TeacherSettings(name="tests.pretrain.helpers:small_teacher")
WIDTHS = [1.0, 0.25, 0.6]
LAST = 90  # an iteration of the last stage of 100


def model(**settings) -> Distillation:
    torch.manual_seed(0)
    found = DistillationSettings(teacher=TEACHER, hidden=16, queue=6, base_outputs=8, **settings)
    net = found.build(create_backbone("resnet18", base_channels=16), 1, 1.0, ImageFacts()).double()
    net.teacher.network.double()
    return net


def batch(net: Distillation, count: int = 4) -> Batch:
    x = torch.randn(net.num_views, count, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(tuple(x), torch.zeros(count), net.teacher(x.flatten(0, 1)))


def student(net: Distillation, x: torch.Tensor, width: float) -> torch.Tensor:
    """One view by itself, through f and, where there is one, g."""
    y = net.backbone(x, width, BatchStatistics())
    for head in (net.projector, net.aux_head):
        y = y if head is None else head(y, BatchStatistics())
    return y


def features(net: Distillation, x: torch.Tensor) -> torch.Tensor:
    """What the teacher says of one view, less what it says of all images alike."""
    with torch.no_grad():
        found = net.teacher.network(x).mean((2, 3))
    return found - found.mean(0)


@pytest.mark.parametrize("aux_head", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
def test_cosine_is_half_the_squared_distance_of_unit_vectors_less_1(width, aux_head):
    net = model(aux_head=aux_head)
    (x,) = batch(net).views
    s, t = normalize(student(net, x, width), dim=1), normalize(features(net, x), dim=1)
    (term,), _ = net(batch(net), [width])
    torch.testing.assert_close(term.value, ((s - t) ** 2).sum(1).mean() / 2 - 1)


def test_what_the_teacher_says_of_all_images_alike_is_taken_away_in_each_chunk_of_each_view():
    """A teacher that adds a constant to its features teaches the same; without ``centre`` the constant is learnt."""
    for centre in (True, False):
        net = model(centre=centre, opposite=True)
        net.chunks = 2
        given = batch(net)
        parts = given.taught.unflatten(0, (4, 2)) + torch.arange(4.0, dtype=torch.float64)[:, None, None]
        one, other = (net(given._replace(taught=t), [0.5]).terms[0].value for t in (given.taught, parts.flatten(0, 1)))
        assert torch.allclose(one, other) == centre


def test_mse_is_the_squared_distance_to_standardised_features():
    net = model(loss="mse")
    (x,) = batch(net).views
    t = features(net, x)
    t = (t - t.mean(1, keepdim=True)) / (t.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    (term,), _ = net(batch(net), [0.5])
    torch.testing.assert_close(term.value, ((student(net, x, 0.5) - t) ** 2).mean())


@pytest.mark.parametrize("aux_head", [True, False])
def test_relational_is_the_cross_entropy_of_two_softmaxes_row_by_row(aux_head):
    net = model(loss="relational", aux_head=aux_head, temperature=0.3, teacher_temperature=0.05)
    (x,) = batch(net).views
    s, t, expected = normalize(student(net, x, 0.5), dim=1), normalize(features(net, x), dim=1), []
    for i in range(4):
        candidates = torch.cat([t[i : i + 1], net.queue])
        p, q = torch.softmax(candidates @ t[i] / 0.05, 0), torch.softmax(candidates @ s[i] / 0.3, 0)
        expected.append(-(p * q.log()).sum())
    (term,), _ = net(batch(net), [0.5])
    torch.testing.assert_close(term.value, torch.stack(expected).mean())


@pytest.mark.parametrize("loss", ["cosine", "mse"])
def test_opposite_views_learn_each_others_features(loss):
    net = model(loss=loss, opposite=True)
    x1, x2 = batch(net).views
    t1, t2 = features(net, x1), features(net, x2)
    expected = []
    for x, t in ((x1, t2), (x2, t1)):
        s = student(net, x, 0.5)
        target = F.layer_norm(t, t.shape[1:])
        expected.append(((s - target) ** 2).mean() if loss == "mse" else -F.cosine_similarity(s, t).mean())
    (term,), _ = net(batch(net), [0.5])
    torch.testing.assert_close(term.value, torch.stack(expected).mean())


@pytest.mark.parametrize("loss", ["cosine", "mse", "relational"])
def test_every_width_learns_the_same_features_of_one_pass_of_the_teacher(loss):
    net = model(loss=loss)
    together = net(batch(net), WIDTHS)
    assert [(t.name, t.width) for t in together.terms] == [("base", 1.0), ("distill", 0.25), ("distill", 0.6)]
    alone = [net(Batch(batch(net).views, None), [width], together.targets).terms[0] for width in WIDTHS]
    torch.testing.assert_close([t.value for t in together.terms], [t.value for t in alone])


@pytest.mark.parametrize("base", ["infonce", "mse"])
def test_the_largest_network_learns_by_itself_beside_the_teacher(base):
    """The base loss is US3L's, of the same backbone, on a projector of its own; the rest is as without it."""
    net = model(base=base, base_weight=0.3)
    terms = net(batch(net), WIDTHS).terms
    assert [(t.name, t.width) for t in terms] == [
        ("base", 1.0), ("distill", 1.0), ("distill", 0.25), ("distill", 0.6)
    ]  # fmt: skip
    own = US3L(net.backbone, net.settings.learner()).double()
    own.load_state_dict(net.learner.state_dict())
    (expected,), _ = own(batch(net), [1.0])
    torch.testing.assert_close(terms[0].value, 0.3 * expected.value)
    x1, x2 = batch(net).views
    for term in terms[1:]:
        cosine = [F.cosine_similarity(student(net, x, term.width), features(net, x)).mean() for x in (x1, x2)]
        torch.testing.assert_close(term.value, -sum(cosine) / 2)


@pytest.mark.parametrize("loss", ["cosine", "mse"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_tokens_are_learnt_place_by_place(loss, name):
    """The student's map is 3 x 3, the teacher's 8 x 8 is resampled to it; every place has its heads' pass by itself."""
    torch.manual_seed(0)
    teacher = TeacherSettings(name=TEACHER.name, output="tokens", image_size=32)
    found = DistillationSettings(teacher=teacher, hidden=16, loss=loss)
    net = found.build(create_backbone(name, base_channels=16), 1, 1.0, ImageFacts()).double()
    net.teacher.network.double()
    x = F.interpolate(batch(model()).views[0], 96)
    taught = net.teacher(x)
    with torch.no_grad():
        maps = net.teacher.network(F.interpolate(x, 32, mode="bicubic", antialias=True))
    torch.testing.assert_close(taught, maps.flatten(2).mT)
    targets = F.interpolate(maps, 3, mode="bilinear", antialias=True)
    features = net.backbone(x, 0.5, BatchStatistics(), pooled=False)
    torch.testing.assert_close(features.mean((2, 3)), net.backbone(x, 0.5, BatchStatistics()))
    rows = torch.stack([features[b, :, i, j] for b in range(4) for i in range(3) for j in range(3)])
    s = net.aux_head(net.projector(rows, BatchStatistics()), BatchStatistics())
    t = torch.stack([targets[b, :, i, j] for b in range(4) for i in range(3) for j in range(3)])
    t = t - t.mean(0)
    (term,), _ = net(Batch((x,), torch.zeros(4), taught), [0.5])
    squared = ((s - F.layer_norm(t, t.shape[1:])) ** 2).mean()
    torch.testing.assert_close(term.value, squared if loss == "mse" else -F.cosine_similarity(s, t).mean())
    assert net.embed(x, 0.5).shape == (4, 12)


def test_tokens_ask_for_a_student_with_maps_and_a_loss_of_places():
    teacher = TeacherSettings(name=TEACHER.name, output="tokens")
    with pytest.raises(UserError, match="the student has no maps; expected a convolutional one"):
        vit = create_backbone("vit_tiny", image_size=32, depth=1)
        DistillationSettings(teacher=teacher).build(vit, 1, 1.0, ImageFacts())
    for choice in ({"loss": "relational"}, {"opposite": True}):
        with pytest.raises(UserError, match="does not go with objective.teacher.output = 'tokens'"):
            DistillationSettings(teacher=teacher, **choice).check()


def test_the_momentum_encoder_follows_the_backbone_and_the_learners_projector():
    net = model(base="infonce", momentum=0.9, momentum_end=0.9)
    before = [p.clone() for p in net.learner.momentum_encoder.parameters()]
    with torch.no_grad():
        net.backbone.conv1.weight.add_(1.0)
    net.update_momentum(0.0)
    online = [*net.backbone.parameters(), *net.learner.projector.parameters()]
    for old, now, source in zip(before, net.learner.momentum_encoder.parameters(), online, strict=True):
        torch.testing.assert_close(now, 0.9 * old + 0.1 * source)


def trainer(objective: dict, world: World | None = None, **training) -> Trainer:
    """In float64, where equal formulations stay equal."""
    torch.set_default_dtype(torch.float64)
    try:
        values = tiny_config(training={"batch_size": 8, "precision": "fp32", **training}).as_dict()
        teacher = {"name": TEACHER.name, "image_size": 24, **objective.get("teacher", {})}
        objective = {"name": "distillation", "hidden": 16, "queue": 20, **objective, "teacher": teacher}
        config = validate(values | {"objective": objective})
        return Trainer(config, world or World(0, 1, torch.device("cpu")), 100)
    finally:
        torch.set_default_dtype(torch.float32)


def step(found: Trainer, iteration: int, rows: slice = slice(None)):
    images = torch.randint(0, 256, (8, 2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    keys = torch.stack([torch.zeros(8), torch.arange(8)], 1).long()
    torch.set_default_dtype(torch.float64)
    try:
        views = images[rows, : found.model.num_views]
        return found.step(LoadedBatch(views, torch.arange(8)[rows], keys[rows]), iteration)
    finally:
        torch.set_default_dtype(torch.float32)


def state(found: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in found.model.state_dict().items()}


KINDS = [
    {"loss": "cosine", "opposite": True},
    {"loss": "mse"},
    {"loss": "relational"},
    {"loss": "mse", "base": "infonce", "base_outputs": 8, "teacher": {"output": "tokens"}},
    {"loss": "relational", "base": "mse", "base_outputs": 8},
]


@pytest.mark.parametrize("iteration", [0, LAST])
@pytest.mark.parametrize("objective", KINDS, ids=str)
def test_low_memory_takes_the_same_steps(objective, iteration):
    plain, low = trainer(objective), trainer(objective, memory="low")
    for t in range(iteration, iteration + 3):
        a, b = step(plain, t), step(low, t)
        assert [term[:2] for term in a] == [term[:2] for term in b]
    torch.testing.assert_close(state(low), state(plain))


def state_of_process(rank: int, objective: dict, training: dict) -> dict[str, torch.Tensor]:
    found = trainer(objective, World(rank, 2, torch.device("cpu")), **training)
    for t in (LAST, LAST + 1):
        step(found, t, slice(4 * rank, 4 * rank + 4))
    return state(found)


@pytest.mark.parametrize("training", [{"memory": "low"}, {"update": "per_width"}], ids=str)
def test_two_processes_take_the_steps_of_one(training):
    """Queue and momentum encoder included."""
    one = trainer(KINDS[-1], chunks=2, **training)
    for t in (LAST, LAST + 1):
        step(one, t)
    for found in run_processes(state_of_process, 2, KINDS[-1], training):
        torch.testing.assert_close(found, state(one))


def test_the_teacher_is_no_part_of_what_is_trained_saved_or_sent():
    found = trainer({})
    teacher = {p.data_ptr() for p in found.model.teacher.network.parameters()}
    assert teacher and not teacher & {p.data_ptr() for p in found.model.parameters()}
    assert not any("teacher" in name for name in found.model.state_dict())


def test_a_run_goes_on_with_the_weights_of_its_teacher_only():
    found, other = trainer({}), trainer({})
    kept = found.state() | {"iteration": 0}
    other.load(kept)
    with pytest.raises(UserError, match="small_teacher are not those that the run was begun with"):
        other.load(kept | {"teacher": kept["teacher"] | {"sha256": "0" * 64}})
    with pytest.raises(UserError, match="gives 12 features, the run's projector has 7; expected the same"):
        other.load(kept | {"teacher": kept["teacher"] | {"outputs": 7}})


def test_where_a_teacher_lies_is_no_part_of_the_result(tmp_path):
    """Neither of the hash, nor of what the universal checkpoint says, nor of what a run must find again."""

    def config(folder: str) -> PretrainConfig:
        teacher = {"name": "timm:resnet18", "weights": f"{folder}/w.pth", "cache": folder}
        return validate(tiny_config().as_dict() | {"objective": {"name": "distillation", "teacher": teacher}})

    one, two = config("/a"), config("/b")
    own = [_lasting({"objective": {"name": "mine:Objective", "teacher": word}}) for word in ("strict", "mild")]
    assert own[0] != own[1], "of an objective of one's own it may be anything"
    assert one.hash == two.hash and one.as_dict() != two.as_dict() and not differences(one.as_dict(), two.as_dict())
    assert one.lasting == two.lasting and "/a" not in json.dumps(one.lasting)
    found = trainer({"teacher": {"cache": str(tmp_path)}})
    assert str(tmp_path) not in json.dumps(metadata(found, 100))


def test_a_config_says_which_teacher_and_what_is_wrong_with_it():
    with pytest.raises(UserError, match=r"objective.teacher.name is missing; expected timm:MODEL"):
        trainer({"teacher": {"name": None}})
    with pytest.raises(UserError, match=r"unknown config key 'objective.teacher.wights'; did you mean 'weights'"):
        trainer({"teacher": {"wights": "x"}})
    with pytest.raises(UserError, match=r"objective.loss: unknown 'cosin'; did you mean 'cosine'"):
        trainer({"loss": "cosin"})


def test_another_objective_on_the_command_line_takes_nothing_of_the_configs(repository):
    """US3L's ``base`` and ``temperature`` mean something else."""
    path, teacher = repository / "configs/pretrain/us3l_resnet18_digits.py", ["objective.teacher.name=timm:resnet18"]
    found = load_config(path, ["objective.name=distillation", *teacher])
    assert found.objective == DistillationSettings(teacher=TeacherSettings(name="timm:resnet18"))
    assert found.method == "distillation" and found.optimizer == load_config(path, []).optimizer
    assert load_config(path, ["objective.name=distillation", "method=mine", *teacher]).method == "mine"
    assert load_config(path, ["objective.name=us3l"]) == load_config(path, [])


def test_trainings_that_differ_in_the_teachers_file_alone_are_seeds_of_one_row():
    def config(**teacher):
        values = tiny_config().as_dict()
        return validate(values | {"objective": {"name": "distillation", "teacher": {"name": "universal", **teacher}}})

    first, second, third = config(weights="a"), config(weights="b"), config(weights="a", width=0.5)
    assert first.lineage == second.lineage != third.lineage
