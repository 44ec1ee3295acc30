"""Fine-tuning: the recipe, the parameters' groups, and a network that learns what frozen features don't show."""

import math

import pytest
import torch
from torch import nn

from pretrain import UserError, create_backbone
from transfer.recognition.evaluate import evaluate, folder_of
from transfer.recognition.finetune import FinetuneSettings, fine_tuned, mixed, one_hot, parameter_groups
from transfer.recognition.settings import RecognitionSettings, override
from transfer.results import read_results

SETTINGS = RecognitionSettings("finetune")


def test_every_width_is_trained_from_one_pass_and_written(source, image_folder, tmp_path):
    settings = override(RecognitionSettings("finetune", epochs=6, batch=16, seed=1), ["learning_rate=0.003"])
    frozen = {name: tensor.clone() for name, tensor in source.net.state_dict().items()}
    results = evaluate(source, "folder", image_folder, [0.5, 1.0], tmp_path, settings, progress=False)
    assert [(r.task, r.width) for r in results] == [("finetune", 1.0), ("finetune", 0.5)]
    assert min(r.metrics["top1"] for r in results) > 85
    for r in results:
        assert folder_of(r, tmp_path).parent == tmp_path / "photos" / "finetune" / f"width_{r.width:g}"
        assert r.details["recipe"]["epochs"] == 6 and r.details["protocol"] == "finetune"
        assert r.details["settings"]["mixup"] == 0
    assert len(read_results(tmp_path)) == 2
    assert all(torch.equal(frozen[name], tensor) for name, tensor in source.net.state_dict().items())


def test_the_same_seed_gives_the_same_figures_and_another_share_other_ones(source, image_folder, tmp_path):
    def run(labels, seed=0):
        settings = override(RecognitionSettings("finetune", epochs=1, batch=8, seed=seed), [f"labels={labels}"])
        [result] = evaluate(source, "folder", image_folder, [0.5], tmp_path, settings, progress=False)
        return result

    one, other, few, another = run(1.0), run(1.0), run(0.25), run(0.25, seed=1)
    assert (one.metrics, one.config) == (other.metrics, other.config)
    assert few.details["images"]["train"] == 12 and one.details["images"]["train"] == 48
    assert "labels" not in one.details["settings"] and few.details["settings"]["labels"] == 0.25
    assert len({one.config, few.config}) == 2 and len(read_results(tmp_path)) == 3 and another.seed == 1


def test_what_is_not_fine_tuned_is_recorded_as_ever():
    new = {"weight_decay", "warmup", "layer_decay", "label_smoothing", "mixup", "labels"}
    assert not new & RecognitionSettings("fast").recorded().keys()
    assert new - {"labels"} <= SETTINGS.recorded().keys()


@pytest.mark.parametrize(
    ("images", "epochs", "batch"), [(50_000, 30, 128), (640, 100, 128), (64, 500, 64), (1280, 50, 128)]
)
def test_few_images_are_seen_more_often(images, epochs, batch):
    tuning = SETTINGS.finetune("resnet18", images)
    assert (tuning.epochs, tuning.batch, tuning.learning_rate) == (epochs, batch, 1e-3 * batch / 256)
    assert tuning.epochs * tuning.per_epoch(images) >= 500 and tuning.layer_decay == 1
    assert SETTINGS.finetune("vit_tiny", images).layer_decay == 0.75


def test_a_last_batch_of_one_image_is_left_out():
    assert [FinetuneSettings(1e-3, 1, 8).per_epoch(images) for images in (8, 9, 10, 15, 16)] == [1, 1, 2, 2, 2]
    with pytest.raises(UserError, match=r"fine-tuning with 1 training image\(s\) in batches of 1; expected at least 2"):
        SETTINGS.finetune("resnet18", 1)


def test_the_rate_rises_and_falls_as_a_cosine():
    tuning, steps = FinetuneSettings(1e-3, 10, warmup=0.1), 100
    factors = [tuning.factor(step, steps) for step in range(steps)]
    assert factors[:10] == pytest.approx([(k + 1) / 10 for k in range(10)]) and factors[10] == 1
    assert factors[55] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2))) and 0 < factors[-1] < 1e-3
    assert FinetuneSettings(1e-3, 1, warmup=0.0).factor(0, 1) == 1


def test_rates_of_a_vision_transformer_fall_towards_the_images():
    backbone = create_backbone("vit_tiny", image_size=32, depth=3)
    network = nn.Sequential(backbone.plain(backbone.channels(0.5)), nn.Linear(96, 2))
    groups = parameter_groups(network, FinetuneSettings(1e-3, 1, layer_decay=0.5))
    found = {id(p): (group["scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == len(list(network.parameters()))
    module, head = network
    for parameter, expected in (
        (module.pos_embed, (1 / 16, 0)), (module.cls_token, (1 / 16, 0)),
        (module.patch_embed.proj.weight, (1 / 16, 0.05)),
        (module.blocks[0].attn.qkv.weight, (1 / 8, 0.05)), (module.blocks[0].attn.qkv.bias, (1 / 8, 0)),
        (module.blocks[2].norm1.weight, (1 / 2, 0)), (module.norm.weight, (1, 0)), (head.weight, (1, 0.05)),
        (head.bias, (1, 0)),
    ):  # fmt: skip
        assert found[id(parameter)] == expected


def test_a_network_of_convolutions_has_one_rate(source):
    groups = parameter_groups(nn.Sequential(source.net.extract(0.5), nn.Linear(128, 2)), FinetuneSettings(1e-3, 1))
    assert {(group["scale"], group["weight_decay"]) for group in groups} == {(1.0, 0.05), (1.0, 0.0)}


def test_layer_decay_of_convolutions_is_refused_before_an_image_is_read(source, tmp_path):
    settings = override(SETTINGS, ["layer_decay=0.8"])
    with pytest.raises(UserError, match=r"layer_decay is for vision transformers; resnet18 takes one"):
        evaluate(source, "folder", tmp_path / "absent", [1.0], tmp_path, settings, progress=False)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_what_frozen_features_do_not_show_is_learnt(precision, dtype):
    """Classes that differ in what a random frozen projection has thrown away."""

    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 3))

        def forward(self, x):
            projected = x.mean((2, 3)) @ self.weight.T
            seen.add(projected.dtype)
            return projected + 0.01 * torch.arange(4.0)

    torch.manual_seed(0)
    seen, labels = set(), torch.arange(64) % 2
    x = torch.randn(64, 3, 4, 4) * 0.1 + labels.view(-1, 1, 1, 1)
    tuning = FinetuneSettings(0.05, 40, batch=64)
    arguments = {1.0: Blind()}, {1.0: 4}, lambda epoch: [(x, labels)], 64, 2, tuning, 0
    [network] = fine_tuned(*arguments, precision=precision).values()
    assert seen == {dtype} and next(network.parameters()).dtype == torch.float32
    assert (network(x).argmax(1) == labels).all() and not network.training


def test_smoothed_and_mixed_targets_sum_to_one():
    labels, x = torch.tensor([0, 1, 2, 1]), torch.randn(4, 3, 2, 2)
    targets = one_hot(labels, 3, 0.3)
    assert targets[0].tolist() == pytest.approx([0.8, 0.1, 0.1])
    assert mixed(x, targets, 0.0, 0, 0)[0] is x
    y, blended = mixed(x, targets, 0.4, 0, 7)
    again, _ = mixed(x, targets, 0.4, 0, 7)
    assert torch.equal(y, again) and not torch.equal(y, x) and not torch.equal(y, mixed(x, targets, 0.4, 0, 8)[0])
    torch.testing.assert_close(blended.sum(1), torch.ones(4))
    torch.testing.assert_close(y.mean(0), x.mean(0))  # each image has its share and gives the rest
