"""A converted backbone computes what the universal network computes, in programs that know nothing of this project."""

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.plain.resnet import BLOCKS
from tests.pretrain.helpers import MEAN, STD, universal
from tests.programs import stranger
from tests.requirements import requires
from transfer.convert import FORMATS, convert, of_width
from transfer.convert import detectron2 as to_detectron2
from transfer.convert.describe import description

WIDTHS = (1.0, 0.9, 0.5, 0.25)


@pytest.fixture(scope="module")
def networks():
    """A calibrated random network of each backbone."""
    torch.manual_seed(0)
    small = {name: universal(name, widths=WIDTHS, base_channels=16) for name in ("resnet34", "resnet101")}
    return small | {name: universal(name, widths=WIDTHS) for name in ("resnet18", "resnet50")}


def images(size=64):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def built(config: Path):
    """The whole detector of a LazyConfig, its weights loaded as detectron2 loads them."""
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.config import LazyConfig, instantiate

    cfg = LazyConfig.load(str(config))
    model = instantiate(cfg.model)
    DetectionCheckpointer(model).load(cfg.train.init_checkpoint)
    return cfg, model.eval()


@torch.no_grad()
def assert_same_features(model, plain):
    features = model.backbone.bottom_up(images())
    for name, expected in zip(("res2", "res3", "res4", "res5"), plain.stage_maps(images()), strict=True):
        torch.testing.assert_close(features[name], expected, rtol=1e-5, atol=1e-5)


@requires("detection")
@pytest.mark.parametrize(
    ("name", "width"),
    [*product(("resnet18", "resnet50"), WIDTHS), ("resnet34", 0.9), ("resnet101", 0.9), ("resnet101", 1.0)],
)
def test_detectron2_computes_the_same_features_at_any_width(name, width, networks, tmp_path):
    net = networks[name]
    plain = net.extract(width)
    paths = convert(plain, "detectron2", tmp_path, net.metadata)
    _, model = built(paths[0])
    assert_same_features(model, plain)
    loaded = {k.removeprefix("backbone.bottom_up.") for k in model.state_dict() if "bottom_up" in k}
    assert loaded == set(torch.load(paths[1], weights_only=True)["model"])


@requires("detection")
def test_the_recipe_trains_all_layers_on_rgb_images_normalised_as_in_pretraining(networks, tmp_path):
    from torch import nn

    net = networks["resnet50"]
    cfg, model = built(convert(net.extract(0.5), "detectron2", tmp_path, net.metadata)[0])
    assert all(parameter.requires_grad for parameter in model.parameters())
    norms = [type(m) for m in model.modules() if "Norm" in type(m).__name__]
    assert set(norms) == {nn.BatchNorm2d} and len(norms) == 53 + 8 + 4  # backbone, pyramid, mask head
    assert (model.input_format, cfg.dataloader.train.mapper.image_format) == ("RGB", "RGB")
    assert cfg.dataloader.test.mapper.image_format == "RGB"
    assert model.pixel_mean.flatten().tolist() == pytest.approx([255 * m for m in MEAN])
    assert model.pixel_std.flatten().tolist() == pytest.approx([255 * s for s in STD])
    strided = [m.kernel_size for m in model.backbone.bottom_up.modules() if getattr(m, "stride", None) == (2, 2)]
    assert strided.count((3, 3)) == 3  # on the 3x3, not on the first 1x1
    assert (cfg.optimizer.lr, cfg.dataloader.train.total_batch_size, cfg.train.max_iter) == (0.02, 16, 90000)


@requires("detection")
@pytest.mark.parametrize("width", [0.25, 0.5])
def test_the_yaml_says_the_same_model_as_the_lazy_config(width, networks, tmp_path):
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    net = networks["resnet50"]
    plain = net.extract(width)
    config, weights, yaml, _ = convert(plain, "detectron2", tmp_path, net.metadata)
    lazy_cfg, lazy = built(config)
    cfg = get_cfg()
    cfg.merge_from_file(str(yaml))
    cfg.MODEL.DEVICE = "cpu"
    assert weights.name == cfg.MODEL.WEIGHTS
    model = build_model(cfg)
    DetectionCheckpointer(model).load(str(weights))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert shapes == {name: value.shape for name, value in lazy.state_dict().items()}
    assert_same_features(model.eval(), plain)
    assert torch.equal(model.pixel_mean, lazy.pixel_mean) and torch.equal(model.pixel_std, lazy.pixel_std)
    assert (model.input_format, cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER) == ("RGB", lazy_cfg.optimizer.lr, 90000)
    assert model.proposal_generator.pre_nms_topk == {True: 2000, False: 1000}
    assert lazy.proposal_generator.pre_nms_topk == {True: 2000, False: 1000}


@requires("detection")
def test_a_yaml_is_written_only_where_it_can_say_the_channels(networks, tmp_path):
    for name, width, said in (("resnet50", 0.9, False), ("resnet18", 0.5, False), ("resnet50", 1.0, True)):
        net = networks[name]
        folder = tmp_path / f"{name}_{width}"
        paths = convert(net.extract(width), "detectron2", folder, net.metadata)
        assert (folder / "mask_rcnn_fpn.yaml" in paths) == said
        assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)


STOCK = """
import sys
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import LazyConfig, get_cfg, instantiate
from detectron2.engine import SimpleTrainer
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances

path = sys.argv[1]
if path.endswith(".py"):
    cfg = LazyConfig.load(path)
    cfg.model.proposal_generator.post_nms_topk = (50, 50)
    cfg.model.roi_heads.batch_size_per_image = 16
    model, weights = instantiate(cfg.model), cfg.train.init_checkpoint
    cfg.optimizer.params.model = model
    optimizer = instantiate(cfg.optimizer)
else:
    cfg = get_cfg()
    cfg.merge_from_file(path)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN = cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 50
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 16
    model, weights = build_model(cfg), cfg.MODEL.WEIGHTS
    optimizer = torch.optim.SGD(model.parameters(), cfg.SOLVER.BASE_LR)
DetectionCheckpointer(model).load(weights)
stem = model.backbone.bottom_up.stem.conv1.weight
before = stem.detach().clone()
assert torch.equal(before, torch.load(weights)["model"]["stem.conv1.weight"])

def scene(seed):
    image = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[:, 10:50, 20:60] = True
    objects = Instances((64, 64), gt_boxes=Boxes([[20.0, 10.0, 60.0, 50.0]]), gt_classes=torch.tensor([seed]))
    objects.gt_masks = BitMasks(masks)
    return {"image": image, "instances": objects, "height": 64, "width": 64}

def polygons(x):  # the default masks of both configs are polygons
    from detectron2.structures import PolygonMasks
    x["instances"].gt_masks = PolygonMasks([[[20.0, 10.0, 60.0, 10.0, 60.0, 50.0, 20.0, 50.0]]])
    return x

trainer = SimpleTrainer(model, [[polygons(scene(0)), polygons(scene(1))]] * 3, optimizer)
trainer.train(0, 3)
assert trainer.iter == 3 and not torch.equal(stem, before)
assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
model.eval()
with torch.no_grad():
    print("detections", len(model([scene(0)])[0]["instances"]))
print("bn", model.backbone.bottom_up.res5[0].conv1.norm.num_batches_tracked.item())
"""


@requires("detection")
@pytest.mark.parametrize(
    ("name", "width", "file"), [("resnet18", 0.25, "mask_rcnn_fpn.py"), ("resnet50", 0.25, "mask_rcnn_fpn.yaml")]
)
def test_a_stock_detectron2_trains_it_without_this_project(name, width, file, networks, tmp_path):
    net = networks[name]
    convert(net.extract(width), "detectron2", tmp_path, net.metadata)
    done = stranger(STOCK, file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "detections" in done.stdout and "bn 3" in done.stdout


@pytest.mark.parametrize("name", [f"resnet{depth}" for depth in BLOCKS])
def test_detectron2_puts_a_projection_where_the_backbone_has_one_at_every_width(name):
    """detectron2 projects where a block's inputs and outputs differ in number; the backbone decides at full width."""
    backbone = create_backbone(name)
    for width in backbone.width_space().names:
        channels = backbone.channels(width)
        inputs = (channels.stem, *channels.outer[:3])
        for stage in range(4):
            assert (inputs[stage] != channels.outer[stage]) == backbone.blocks.projects(stage), (width, stage)


@requires("detection")
def test_nothing_is_written_when_the_features_differ(networks, tmp_path, monkeypatch):
    net, right = networks["resnet18"], to_detectron2.backbone_state

    def wrong(plain):
        state = right(plain)
        state["res4.1.conv2.norm.running_mean"] += 1
        return state

    monkeypatch.setattr(to_detectron2, "backbone_state", wrong)
    with pytest.raises(RuntimeError, match="res4 differs"):
        convert(net.extract(0.5), "detectron2", tmp_path / "out", net.metadata)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_cifar_stem_is_refused_because_of_its_strides(tmp_path):
    net = universal(stem="cifar", base_channels=8)
    with pytest.raises(UserError, match="strides 4 to 32, a cifar stem has others") as error:
        convert(net.extract(0.5), "detectron2", tmp_path, net.metadata)
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_channels_that_detectron2_cannot_say_are_refused(tmp_path):
    net = universal(base_channels=8)
    with pytest.raises(UserError, match="stage 2 has 8 channels in and 8 out"):
        convert(net.extract(0.5), "detectron2", tmp_path, net.metadata)


def test_an_unknown_format_names_the_known_ones(networks, tmp_path):
    with pytest.raises(UserError, match=", ".join(sorted(FORMATS))):
        convert(networks["resnet18"].extract(0.5), "xla", tmp_path, {})


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_torchvisions_mobilenet_loads_any_width_multiplier_that_it_computes_alike(width, tmp_path):
    import torchvision

    net = universal("mobilenetv2", widths=(width,))
    plain = net.extract(width)
    path, beside = convert(plain, "torchvision", tmp_path, of_width(net, width))
    model = torchvision.models.mobilenet_v2(width_mult=width).eval()
    model.classifier = torch.nn.Identity()
    model.load_state_dict(torch.load(path, weights_only=True), strict=True)
    assert f"mobilenet_v2(width_mult={width})" in json.loads(beside.read_text())["load"]
    with torch.no_grad():
        assert torch.equal(model(images()), plain(images()))


VIT = {"image_size": 32, "patch_size": 8, "depth": 1}


@pytest.mark.parametrize(
    ("name", "options", "form", "message"),
    [
        ("mobilenetv2", {}, "detectron2", "no class that computes mobilenetv2; expected a ResNet"),
        ("vit_tiny", VIT, "detectron2", "no class that computes vit_tiny; expected a ResNet"),
        ("vit_small", VIT, "torchvision", "cannot say vit_small; expected a ResNet or mobilenetv2"),
        ("mobilenetv2", {"stem": "cifar"}, "torchvision", "other strides than a cifar stem; expected"),
        ("mobilenetv2", {}, "torchvision", "shortcut where stem and first block both have 8 channels"),
    ],
)
def test_a_backbone_that_a_format_cannot_say_gets_one_line(name, options, form, message, tmp_path):
    net = universal(name, widths=(0.25,), **options)
    with pytest.raises(UserError, match=message) as error:
        convert(net.extract(0.25), form, tmp_path, net.metadata)
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "options"), [("mobilenetv2", {}), ("vit_tiny", VIT)])
def test_safetensors_take_every_backbone(name, options, tmp_path):
    net = universal(name, widths=(0.5,), **options)
    (path,) = convert(net.extract(0.5), "safetensors", tmp_path, net.metadata)
    assert path.name == f"{name}.safetensors"
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(net.extract(0.5).state_dict())


def test_weights_from_elsewhere_say_no_size_of_their_images(tmp_path):
    plain, statistics = universal(base_channels=8).extract(0.5), {"mean": MEAN, "std": STD}
    assert convert(plain, "safetensors", tmp_path, statistics)
    assert description(plain, statistics)["image_size"] is None
    assert description(plain, statistics | {"export_size": 96})["image_size"] == 96
