"""A pretraining starts from anybody's weights: every backbone, other programs' names, and one line for what is none."""

import json

import pytest
import torch
from torch import nn

from pretrain import UserError, load_universal
from pretrain.backbones import create_backbone
from pretrain.config import differences
from pretrain.data.images.datasets import image_dataset
from pretrain.run.distributed import World
from pretrain.sections import BackboneSettings
from pretrain.slimmable.norms.statistics import BatchStatistics
from pretrain.train import pretrain
from pretrain.trainer import Trainer
from pretrain.weights.start import identified, load_start
from tests.pretrain.helpers import tiny_config, universal
from tests.pretrain.networks import every_network
from tests.pretrain.processes import run_processes


@pytest.fixture
def save(tmp_path):
    def run(content, name="weights.pth"):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return run


def options_of(name, options):
    return {"name": name, **options, **({"heads": create_backbone(name, **options).heads} if "vit" in name else {})}


def started(name, file, seed=0, **options):
    return load_start(BackboneSettings(name=name, weights=file, **options), seed)


@every_network
def test_every_backbone_starts_from_a_plain_network_with_a_head(name, options, save):
    backbone = create_backbone(name, **options)
    plain = backbone.plain(backbone.channels(1.0), num_classes=10)
    file = save({"state_dict": {f"module.backbone.{n}": t for n, t in plain.state_dict().items()}, "epoch": 3})
    given = options_of(name, options)
    start = started(given.pop("name"), file, **given)
    assert start.fit.share == 1 and start.fit.prefix == "state_dict.module.backbone."
    assert {n.partition(".")[0] for n in start.fit.unexpected} <= {"fc", "classifier", "head"}
    for key, parameter in start.backbone.named_parameters():
        assert torch.equal(parameter, plain.state_dict()[key]), key


def same_features(backbone, theirs, size=32):
    """At width 1 as the other program's network computes them, both with the batch's own statistics."""
    x = torch.randn(8, 3, size, size)
    theirs.train()
    for module in theirs.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    torch.testing.assert_close(backbone(x, 1.0, BatchStatistics()), theirs(x), rtol=1e-4, atol=1e-4)


def test_timms_mobilenetv2_is_understood(save):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("mobilenetv2_100", num_classes=0, drop_rate=0.0)
    start = started("mobilenetv2", save(theirs.state_dict()), stem="imagenet")
    assert start.fit.share == 1 and not start.fit.unexpected
    same_features(start.backbone, theirs, 64)


def test_timms_vision_transformer_is_understood_with_its_heads(save):
    timm = pytest.importorskip("timm")
    theirs = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=192, depth=2, num_heads=3, num_classes=10
    )
    file = save({"model": theirs.state_dict()})
    sizes = {"image_size": 32, "patch_size": 8, "depth": 2}
    with pytest.raises(UserError, match="does not say how many heads .* expected backbone.heads=3 or backbone.heads=6"):
        started("vit_tiny", file, **sizes)
    start = started("vit_tiny", file, heads=3, **sizes)
    assert start.fit.unexpected == ("head.weight", "head.bias") and start.backbone.arguments["heads"] == 3
    theirs.head = nn.Identity()
    same_features(start.backbone, theirs)


def test_torchvisions_vision_transformer_is_understood(save):
    from torchvision.models import VisionTransformer

    theirs = VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=192, mlp_dim=768)
    start = started("vit_tiny", save(theirs.state_dict()), image_size=32, patch_size=8, depth=2, heads=3)
    assert start.fit.share == 1 and {n.partition(".")[0] for n in start.fit.unexpected} == {"heads"}
    theirs.heads = nn.Identity()
    same_features(start.backbone, theirs)


def test_a_position_embedding_is_resampled_for_other_images(save):
    wide = create_backbone("vit_tiny", image_size=64, patch_size=8, depth=2)
    start = started("vit_tiny", save(wide.state_dict()), image_size=32, patch_size=8, depth=2, heads=6)
    assert start.fit.share == 1
    fixed = create_backbone("vit_tiny", image_size=32, patch_size=8).pos_embed[0, 1:]
    found = start.backbone.pos_embed[0, 1:]
    assert torch.corrcoef(torch.stack([found.flatten(), fixed.flatten()]))[0, 1] < 0.99  # of another grid's positions
    x = wide.pos_embed[:, 1:].unflatten(1, (8, 8)).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(x, (4, 4), mode="bicubic").flatten(2).transpose(1, 2)
    torch.testing.assert_close(found[None], expected)


def test_a_position_embedding_without_a_place_for_the_class_token_has_none_there(save):
    theirs = create_backbone("vit_tiny", image_size=32, patch_size=8, depth=2).state_dict()
    file = save(theirs | {"pos_embed": theirs["pos_embed"][:, 1:]})
    found = started("vit_tiny", file, image_size=32, patch_size=8, depth=2, heads=6).backbone.pos_embed
    assert not found[:, 0].any() and torch.equal(found[:, 1:], theirs["pos_embed"][:, 1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w | {"blocks.0.ls1.gamma": torch.ones(192)},
            "layers that vit_tiny does not have, blocks.0.ls1.gamma",
        ),
        (
            lambda w: w | {"pos_embed": torch.cat([w["pos_embed"][:, :1], w["pos_embed"]], dim=1)},
            r"pos_embed is of \[1, 18, 192\] and not trained here; expected \[1, 17, 192\]",
        ),
        (lambda w: {n: t for n, t in w.items() if n != "pos_embed"}, "pos_embed is missing and not trained here"),
        (
            lambda w: w | {"patch_embed.proj.weight": torch.zeros(192, 3, 4, 4)},
            r"patch_embed.proj.weight is of \[192, 3, 4, 4\] and not trained here",
        ),
    ],
)
def test_weights_of_another_function_are_refused(change, message, save):
    """Layers of its own, and what would stay as it was drawn: nine tenths of the numbers fit all the same."""
    theirs = create_backbone("vit_tiny", image_size=32, patch_size=8, depth=2).state_dict()
    with pytest.raises(UserError, match=message) as error:
        started("vit_tiny", save(change(theirs)), image_size=32, patch_size=8, depth=2, heads=6)
    assert "\n" not in str(error.value)


def test_a_squeezing_resnet_is_no_resnet(save):
    theirs = create_backbone("resnet18", base_channels=8).state_dict()
    with pytest.raises(UserError, match="is of a network with layers that resnet18 does not have, layer1.0.se.fc1"):
        started("resnet18", save(theirs | {"layer1.0.se.fc1.weight": torch.zeros(2, 8, 1, 1)}), base_channels=8)


def test_a_stem_for_other_images_stays_as_the_seed_draws_it(save):
    from torchvision.models import resnet18

    theirs = resnet18()
    file = save(theirs.state_dict())
    start, again, other = (started("resnet18", file, seed=seed, stem="cifar") for seed in (0, 0, 1))
    assert start.fit.shapes == {"conv1.weight": ((64, 3, 7, 7), (64, 3, 3, 3))} and start.fit.share > 0.999
    assert "1 of another shape (conv1.weight [64, 3, 7, 7] for [64, 3, 3, 3])" in str(start.fit)
    assert torch.equal(start.backbone.conv1.weight, again.backbone.conv1.weight)
    assert not torch.equal(start.backbone.conv1.weight, other.backbone.conv1.weight)
    assert torch.equal(start.backbone.layer4[1].conv2.weight, theirs.layer4[1].conv2.weight)


def test_a_universal_checkpoint_is_a_start(tmp_path):
    net = universal("vit_tiny", image_size=32, patch_size=8, depth=2)
    file = str(net.save(tmp_path / "universal.safetensors"))
    start = started("vit_tiny", file, image_size=32, patch_size=8, depth=2)
    assert start.fit.prefix == "backbone." and start.fit.share == 1
    with pytest.raises(UserError, match="has 6 heads, not 3; expected backbone.heads=6"):
        started("vit_tiny", file, image_size=32, patch_size=8, depth=2, heads=3)


def test_private_norms_begin_as_the_shared_ones(save):
    backbone = universal("resnet18", "cifar", base_channels=16).backbone
    file = save(backbone.state_dict())
    start = started("resnet18", file, stem="cifar", base_channels=16, private_norms=(1.0, 0.5))
    start.prepared(None, 32, [0.5] * 3, [0.5] * 3, 0)
    norm = start.backbone.layer1[0].bn1
    assert torch.equal(norm.private["8"].weight, backbone.layer1[0].bn1.weight[:8])
    assert torch.equal(norm.private["8"].bias, backbone.layer1[0].bn1.bias[:8])


@pytest.mark.parametrize("sort", [None, "l1"])
def test_private_norms_that_the_file_has_are_begun_with(sort, tmp_path):
    """Of sorted channels those of the file are in another order: the shared ones, sorted, are begun with."""
    own = (1.0, 0.5)
    net = universal("resnet18", "cifar", base_channels=16, private_norms=own, widths=())
    with torch.no_grad():
        for name, parameter in net.backbone.named_parameters():
            if ".private." in name:
                parameter.copy_(torch.rand_like(parameter))
    net.calibrate([torch.randn(4, 3, 32, 32)], list(own))
    file = str(net.save(tmp_path / "universal.safetensors"))
    start = started("resnet18", file, stem="cifar", base_channels=16, private_norms=own, sort=sort)
    assert "unexpected" not in str(start.fit) and start.fit.share == 1
    images = image_dataset("digits")
    begun = dict(start.prepared(images, 32, [0.5] * 3, [0.5] * 3, 0).named_parameters())
    private = {name: tensor for name, tensor in net.backbone.named_parameters() if ".private." in name}
    assert private and all(torch.equal(begun[name], tensor) == (sort is None) for name, tensor in private.items())


SMALL = {"base_channels": 8, "stem": "cifar"}


@pytest.fixture
def weights(save):
    torch.manual_seed(1)
    return save(create_backbone("resnet18", **SMALL).state_dict(), "moco.pth")


def run(folder, weights, resume=False, iterations=2, **backbone):
    changes = {"backbone": {**SMALL, "weights": weights, **backbone}, "optimizer": {"lr": 1e-12, "alpha": 0.0}}
    config = tiny_config(**changes, training={"iterations": iterations})
    return pretrain(config, folder, resume, "cpu")


def test_a_pretraining_begins_there_says_so_and_records_it(weights, tmp_path, capsys):
    path = run(tmp_path / "run", weights)
    net, given = load_universal(path), torch.load(weights)
    assert f"{weights}: 100.0 % of the parameters, 60 tensors under ''" in capsys.readouterr().out
    for name, tensor in net.backbone.state_dict().items():
        torch.testing.assert_close(tensor, given[name], rtol=1e-5, atol=1e-6)
    recorded = json.loads((tmp_path / "run/config.json").read_text())["backbone"]
    assert net.metadata["start"] == {"weights": "moco.pth", "weights_sha256": recorded["weights_sha256"]}
    assert net.metadata["backbone"] == net.backbone.arguments == {"name": "resnet18", **SMALL}
    assert recorded["weights"] == weights


def test_a_continued_run_needs_the_file_no_more_and_refuses_another_one(weights, tmp_path):
    run(tmp_path, weights, sort="l1")
    content = torch.load(weights)
    (tmp_path / "moco.pth").unlink()
    path = run(tmp_path, weights, resume=True, iterations=4, sort="l1")
    assert load_universal(path).metadata["iterations"] == 4
    torch.save({**content, "bn1.bias": torch.ones(8)}, weights)
    with pytest.raises(UserError, match="another run: backbone.weights_sha256 differs"):
        run(tmp_path, weights, resume=True, iterations=6, sort="l1")


def test_the_configs_hash_knows_the_content_and_not_the_path(weights, tmp_path):
    here = tiny_config(backbone={"weights": weights})
    there = tiny_config(backbone={"weights": "elsewhere.pth"})
    assert here.hash == there.hash
    known = identified(here.backbone)
    assert len(known.weights_sha256) == 64 and "weights" not in known.arguments
    one, other = (tiny_config(backbone={"weights": "x", "weights_sha256": digit * 64}) for digit in "12")
    assert one.hash != other.hash != tiny_config().hash
    assert differences(one.as_dict(), other.as_dict()) == ["backbone.weights_sha256"]


@pytest.mark.parametrize("criterion", ["bn", "l1", "activation"])
def test_channels_are_sorted_before_the_first_step(weights, tmp_path, criterion):
    path = run(tmp_path, weights, sort=criterion)
    given, norm = torch.load(weights), load_universal(path).backbone.layer1[0]
    found, before = norm.conv1.weight.flatten(1).norm(dim=1), given["layer1.0.conv1.weight"].flatten(1).norm(dim=1)
    torch.testing.assert_close(found.sort().values, before.sort().values, rtol=1e-4, atol=1e-5)
    assert load_universal(path).metadata["start"]["sort"] == criterion
    if criterion != "bn":  # whose scales are all alike here
        assert not torch.allclose(found, before, rtol=1e-3)


def trainer_of(rank, weights):
    """The backbone of a process whose own start was disturbed, as the model of all processes has it."""
    config = tiny_config(backbone={**SMALL, "weights": weights, "sort": "activation"})
    images = image_dataset("digits", None, "train", 32, 4)
    data = config.data
    backbone = load_start(config.backbone, 0).prepared(images, 32, data.mean, data.std, 0)
    state = {name: tensor + rank for name, tensor in backbone.state_dict().items()}
    return Trainer(config, World(rank, 2, torch.device("cpu")), 2, weights=state).model.backbone.state_dict()


def test_every_process_starts_from_the_same_weights(weights):
    one, other = run_processes(trainer_of, 2, weights)
    assert all(torch.equal(one[name], other[name]) for name in one)
    torch.testing.assert_close(one["bn1.bias"], torch.zeros(8))


def test_what_does_not_fit_is_one_line_before_training(save, tmp_path):
    narrow = save(create_backbone("resnet18", **{**SMALL, "base_channels": 16}).state_dict(), "wide.pth")
    vit = save(create_backbone("vit_tiny", image_size=32, depth=2).state_dict(), "vit.pth")
    both = create_backbone("resnet18", **SMALL).state_dict()
    both = save({"encoder_q": both, "encoder_k": both}, "both.pth")
    broken = create_backbone("resnet18", **SMALL).state_dict()
    broken["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG")
    for file, message in (
        (narrow, r"wide.pth does not fit: it has 0.0 % .* of another shape \(conv1.weight \[16, 3, 3, 3\] for \[8, 3"),
        (vit, "vit.pth has no tensor of the network"),
        (
            both,
            "several networks that fit, under 'encoder_k.' and 'encoder_q.'; expected backbone.weights_prefix of one",
        ),
        (save(broken, "nan.pth"), "nan.pth: layer1.0.conv1.weight holds a number that is not finite"),
        (str(picture), "picture.png cannot be read as weights"),
        (str(tmp_path / "absent.pth"), "no such file: .*absent.pth; expected backbone.weights=FILE"),
    ):
        with pytest.raises(UserError, match=message) as error:
            run(tmp_path / "run", file)
        assert "\n" not in str(error.value)
        assert not list((tmp_path / "run").glob("checkpoints/*")) and not (tmp_path / "run/config.json").exists()
    run(tmp_path / "run", both, weights_prefix="encoder_q")
    with pytest.raises(UserError, match="has the SHA-256 .*; expected 0000"):
        run(tmp_path / "other", both, weights_prefix="encoder_q", weights_sha256="0" * 64)


@pytest.mark.parametrize("key", ["sort", "weights_prefix", "weights_sha256"])
def test_settings_of_a_start_without_weights_are_refused(key):
    with pytest.raises(
        UserError, match=f"backbone.{key} is about weights to start from; expected backbone.weights=FILE"
    ):
        tiny_config(backbone={key: "l1"})
    with pytest.raises(UserError, match="backbone.sort: unknown 'l2'"):
        tiny_config(backbone={"weights": "x", "sort": "l2"})
