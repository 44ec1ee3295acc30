"""Plans by stage stand for a width wherever one is taken, are never one, and compute what their plain networks do."""

import copy
import json
import pickle

import pytest
import torch

from pretrain import UncalibratedWidthError, load_universal
from pretrain.common.errors import UserError
from pretrain.slimmable.plans import bounds, named_plan, plan, read_plan
from pretrain.slimmable.widths import TEN_WIDTHS, round_channels
from tests.pretrain.helpers import universal

RANGE = (0.25, 1.0)
NAME = "r18-8.24.64.80"  # of a quarter of the channels


@pytest.fixture
def net():
    torch.manual_seed(0)
    return universal(base_channels=16, widths=(1.0, 0.5))


def batches(count: int = 3):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(6, 3, 32, 32, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("width", TEN_WIDTHS)
def test_a_uniform_plan_is_the_network_of_its_width_to_the_byte(width):
    torch.manual_seed(0)
    net = universal(base_channels=32, widths=())
    other = copy.deepcopy(net)
    stages = net.backbone.channels(width).outer
    same = plan(net.backbone, stages, *RANGE)
    assert net.backbone.channels(same) == net.backbone.channels(width)
    net.calibrate(batches(1), same)
    other.calibrate(batches(1), width)
    a, b = net.extract(same).state_dict(), other.extract(width).state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert net.is_calibrated(width) and net.cost(same) == other.cost(width)


def test_the_plain_network_of_any_plan_computes_what_the_slimmable_one_does_in_float64(net):
    net = net.double()
    net.statistics.clear()
    chosen = named_plan(net.backbone, NAME, *RANGE)
    net.calibrate([batch.double() for batch in batches()], chosen)
    plain, images = net.extract(chosen), batches(1)[0].double()
    with torch.no_grad():
        torch.testing.assert_close(plain(images), net(images, chosen), rtol=1e-6, atol=1e-9)
    assert [plain.conv1.out_channels, plain.layer4[1].bn2.num_features] == [8, 80]
    # independent: the slices written out, and batch norm by its formula from float64 statistics of the same batches
    weight = dict(net.backbone.named_parameters())["layer3.0.conv1.weight"]
    assert torch.equal(plain.layer3[0].conv1.weight, weight[:64, :24])
    stem = torch.cat(
        [torch.nn.functional.conv2d(b.double(), plain.conv1.weight, stride=2, padding=3) for b in batches()]
    )
    torch.testing.assert_close(plain.bn1.running_mean, stem.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(plain.bn1.running_var, stem.var((0, 2, 3), unbiased=False), rtol=1e-5, atol=1e-6)


def test_a_checkpoint_keeps_plans_beside_widths_and_says_what_they_were_calibrated_on(net, tmp_path):
    before = net.save(tmp_path / "before.safetensors").read_bytes()
    assert load_universal(tmp_path / "before.safetensors").calibrated_plans == []
    chosen = net.width(NAME)
    with pytest.raises(UncalibratedWidthError, match=f"width {NAME} is not calibrated; calibrated widths: 1, 0.5"):
        net(batches(1)[0], chosen)
    net.calibrate(batches(), chosen, data="flowers", on="target")
    path = net.save(tmp_path / "universal.safetensors")
    again = load_universal(path)
    assert again.calibrated_plans == [chosen] and again.calibrated_widths == [1.0, 0.5]
    assert again.calibration_of(chosen)["data"] == "flowers" and again.calibration_of(0.5)["data"] is None
    assert again.calibration_of(chosen)["batches"] == 3
    images = batches(1)[0]
    assert torch.equal(again(images, chosen), net(images, chosen))
    assert again.save(tmp_path / "again.safetensors").read_bytes() == path.read_bytes() != before
    again.calibrate(batches(2), 0.75)
    assert again.calibrated_plans == [chosen] and again.calibrated_widths == [1.0, 0.75, 0.5]


def test_a_plan_is_no_width(net):
    chosen = net.width(NAME)
    share = float(chosen)
    assert share == pytest.approx((8 / 16 + 24 / 32 + 64 / 64 + 80 / 128) / 4)
    assert chosen != share and share != chosen and len({chosen, share}) == 2
    assert f"{chosen:g}" == str(chosen) == NAME and sorted([1.0, chosen, 0.25]) == [0.25, chosen, 1.0]
    for twin in (copy.deepcopy(chosen), pickle.loads(pickle.dumps(chosen))):
        assert twin == chosen and twin.stages == chosen.stages and hash(twin) == hash(chosen)
    assert net.backbone.channels(chosen) != net.backbone.channels(share)


def test_a_file_holds_a_plan(net, tmp_path):
    for text in (NAME + "\n", json.dumps({"plan": NAME, "macs": 1})):
        (tmp_path / "plan").write_text(text)
        assert read_plan(net.backbone, str(tmp_path / "plan"), *RANGE) == net.width(NAME)
    (tmp_path / "plan").write_text('{"macs": 1}')
    with pytest.raises(UserError, match="plan holds no plan"):
        net.width(str(tmp_path / "plan"))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("r18-8.24.64", "has 3 stages; expected 4"),
        ("r18-8.24.64.136", "stage 4 has 136 channels; expected 32 to 128"),
        ("r34-8.24.64.80", "is no width and no plan of resnet18; expected e.g. r18-16.32.64.128"),
        ("half", "'half' is no width and no plan of resnet18"),
        (0.1, "outside the range 0.25 to 1"),
    ],
)
def test_a_mistake_is_one_line(given, line, net):
    with pytest.raises(UserError, match=line):
        net.width(given)


# backbone -> options, a plan that is not uniform, the channels that it says, and a width whose channels are a plan's
OTHERS = {
    "resnet34": ({"stem": "cifar", "base_channels": 16}, "r34-8.16.40.48", "8-8.8-16.16-40.40-48.48", 0.5),
    "resnet50": ({"base_channels": 32}, "r50-8.24.64.80", "8-8.32-24.96-64.256-80.320", 0.5),
    "mobilenetv2": ({}, "mobilenetv2-16.8.24.16.48.48.120.160", "16-8-24-16-48-48-120-160-1280", 0.75),
    "convnextv2_atto": ({"patch_size": 1}, "convnextv2_atto-16.80.64.96", "16-80-64-96", 0.75),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_plan_of_any_backbone_with_stages_is_calibrated_extracted_kept_and_counted(name, tmp_path):
    options, plan_name, key, _ = OTHERS[name]
    torch.manual_seed(0)
    net = universal(name, widths=(), **options)
    chosen = net.width(plan_name)
    assert net.backbone.channels(chosen).key == key
    net.calibrate(batches(), chosen)
    images = batches(1)[0]
    plain = net.extract(chosen)
    with torch.no_grad():
        torch.testing.assert_close(plain(images), net(images, chosen), rtol=1e-4, atol=1e-5)
    again = load_universal(net.save(tmp_path / "universal.safetensors"))
    assert torch.equal(again(images, chosen), net(images, chosen))
    assert net.cost(chosen).params == sum(p.numel() for p in plain.parameters())
    assert net.cost(0.25).params < net.cost(chosen).params < net.cost(1.0).params


def test_plans_of_bottlenecks_keep_to_the_channels_that_were_trained():
    """What a bottleneck ends in is rounded by itself in a width: 4 times what is inside can be more than there is."""
    for base, high in ((64, 0.7), (12, 1.0)):
        backbone = universal("resnet50", widths=(), base_channels=base).backbone
        widest = plan(backbone, tuple(most for _, most in bounds(backbone, 0.25, high)), 0.25, high)
        found, limit = backbone.channels(widest), backbone.channels(high)
        assert all(a <= b for a, b in zip((*found.inner, *found.outer), (*limit.inner, *limit.outer), strict=True))
        with pytest.raises(UserError, match="stage 1 has"):
            plan(backbone, (limit.inner[0] + 1, *widest.stages[1:]), 0.25, high)


@pytest.mark.parametrize("name", OTHERS)
def test_a_uniform_plan_of_any_backbone_has_the_channels_of_its_width(name):
    options, _, _, width = OTHERS[name]
    backbone = universal(name, widths=(), **options).backbone
    for uniform in (width, 1.0, 0.25):
        stages = [round_channels(count, uniform) for count in backbone.stage_channels]
        assert backbone.channels(plan(backbone, tuple(stages), *RANGE)) == backbone.channels(uniform)


@pytest.mark.parametrize(
    ("name", "options"),
    [("vit_tiny", {"image_size": 32, "patch_size": 4}), ("resnet18", {"private_norms": [1.0, 0.5]})],
)
def test_backbones_whose_stages_cannot_differ_say_so(name, options):
    net = universal(name, widths=(), **options)
    with pytest.raises(UserError, match=f"{name} has no plans by stage|is no width and no plan of {name}"):
        net.width("r18-8.24.64.80" if name == "resnet18" else f"{name}-8.16")
    with pytest.raises(UserError, match="has no plans by stage"):
        bounds(net.backbone, *RANGE)
