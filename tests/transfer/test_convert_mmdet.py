"""A backbone that was converted to mmdet computes what the universal network computes, without this project."""

from itertools import product
from pathlib import Path

import pytest
import torch

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.plain.resnet import BLOCKS
from tests.pretrain.helpers import MEAN, STD, universal
from tests.programs import stranger
from tests.requirements import requires
from transfer.convert import convert, of_width
from transfer.convert import mmdet as to_mmdet
from transfer.detection.data.scenes import SceneSettings, make_scenes

WIDTHS = (1.0, 0.9, 0.5)
ALL = [f"resnet{depth}" for depth in BLOCKS]


@pytest.fixture(scope="module")
def networks():
    """A calibrated random network of each backbone, of a quarter of the channels."""
    torch.manual_seed(0)
    return {name: universal(name, widths=WIDTHS, base_channels=16) for name in ALL}


def images(size=64):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def built(config: Path):
    """The whole detector of a config, its weights loaded as mmengine's Runner loads them."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg.model)
    model.init_weights()
    model.eval()
    return cfg, model


@requires("mmdet")
@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "width", "detector"),
    [
        *((name, width, "mask_rcnn_fpn") for name, width in product(("resnet18", "resnet50"), WIDTHS)),
        *(("resnet50", width, "faster_rcnn_fpn") for width in (0.9, 0.5)),
        ("resnet34", 0.9, "mask_rcnn_fpn"),
        ("resnet101", 0.9, "faster_rcnn_fpn"),
    ],
)
def test_mmdet_computes_the_same_features_bit_for_bit_at_any_width(name, width, detector, networks, tmp_path):
    plain = networks[name].extract(width)
    paths = convert(plain, "mmdet", tmp_path, networks[name].metadata)
    assert [path.stem for path in paths[:2]] == ["mask_rcnn_fpn", "faster_rcnn_fpn"]
    _, model = built(tmp_path / f"{detector}.py")
    kind = "ResNet" if to_mmdet.native(plain.depth, plain.channels) else "ChannelListResNet"
    assert type(model.backbone).__name__ == kind
    for found, expected in zip(model.backbone(images()), plain.stage_maps(images()), strict=True):
        assert torch.equal(found, expected)
    assert model.backbone.state_dict().keys() == plain.state_dict().keys()


@requires("mmdet")
def test_a_listed_backbone_trains_to_the_bit_like_the_plain_one(networks, tmp_path):
    """Gradients and running statistics in training mode too, not the features alone."""
    net = networks["resnet50"]
    plain = net.extract(0.9).train()
    _, model = built(convert(net.extract(0.9), "mmdet", tmp_path, net.metadata)[0])
    backbone = model.backbone.train()
    assert backbone.training and all(parameter.requires_grad for parameter in backbone.parameters())
    for network, stages in ((plain, plain.stage_maps), (backbone, backbone)):
        sum(stage.square().mean() for stage in stages(images())).backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
    for (name, one), other in zip(plain.named_parameters(), backbone.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name
    for (name, one), other in zip(plain.named_buffers(), backbone.buffers(), strict=True):
        assert torch.equal(one, other), name


@requires("mmdet")
def test_a_listed_backbone_freezes_and_keeps_its_norms_as_mmdets_do():
    from transfer.convert.channel_list_resnet import ChannelListResNet

    channels = {"stem_channels": 8, "inner_channels": (8, 8, 16, 24), "stage_channels": (16, 24, 40, 56)}
    model = ChannelListResNet(50, **channels, frozen_stages=1, norm_eval=True, out_indices=(1, 3)).train()
    trained = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}
    assert not any(m.training for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert [stage.shape[1:] for stage in model(images())] == [(24, 8, 8), (56, 2, 2)]
    with pytest.raises(ValueError, match="four inner_channels"):
        ChannelListResNet(18, 8, (8, 8), (8, 8))
    with pytest.raises(ValueError, match="no ResNet of depth 20"):
        ChannelListResNet(20, 8, (8,) * 4, (8,) * 4)


@requires("mmdet")
def test_a_listed_backbone_knows_the_blocks_of_every_depth():
    """The file stands alone, so it has a table of its own."""
    from transfer.convert.channel_list_resnet import BASIC
    from transfer.convert.channel_list_resnet import BLOCKS as listed

    assert listed == {depth: blocks.counts for depth, blocks in BLOCKS.items()}
    assert set(BASIC) == {depth for depth, blocks in BLOCKS.items() if blocks.basic}


@pytest.mark.parametrize(("name", "reach"), [("resnet50", 1 / 512), ("resnet18", 1 / 128)])
def test_widths_near_multiples_of_an_eighth_are_native(name, reach):
    """Where every stage is exactly double the one before, which is what stem_channels and base_channels can say."""
    net = create_backbone(name)
    for step in range(512, 2049):
        width = step / 2048
        offset = width - round(8 * width) / 8
        expected = -reach <= offset < reach  # halves are rounded up
        known = to_mmdet.native(net.depth, net.channels(width))
        assert (known is not None) == expected, width
        if known:
            assert known == {"stem_channels": 8 * round(8 * width), "base_channels": 8 * round(8 * width)}


@requires("mmdet")
def test_the_recipes_train_all_layers_on_rgb_images_normalised_as_in_pretraining(networks, tmp_path):
    net = networks["resnet50"]
    mask, faster, *_ = convert(net.extract(0.5), "mmdet", tmp_path, net.metadata)
    for path, norms, classes, iterations in ((mask, 53 + 8 + 4, 80, 90_000), (faster, 53 + 8, 20, 24_000)):
        cfg, model = built(path)
        assert all(parameter.requires_grad for parameter in model.parameters())
        model.train()
        found = [m for m in model.modules() if "Norm" in type(m).__name__]
        assert len(found) == norms and {type(m) for m in found} == {torch.nn.BatchNorm2d}
        assert all(m.training for m in found) and cfg.sync_bn == "torch"
        preprocessor = model.data_preprocessor
        assert preprocessor.mean.flatten().tolist() == pytest.approx([255 * m for m in MEAN])
        assert preprocessor.std.flatten().tolist() == pytest.approx([255 * s for s in STD])
        assert preprocessor._channel_conversion  # mmdet reads BGR
        strided = [m.kernel_size for m in model.backbone.modules() if getattr(m, "stride", None) == (2, 2)]
        assert strided.count((3, 3)) == 3  # on the 3x3, not on the first 1x1
        assert model.roi_head.bbox_head.num_classes == classes
        assert (cfg.optim_wrapper.optimizer.lr, cfg.train_cfg.max_iters) == (0.02, iterations)
        assert cfg.auto_scale_lr.base_batch_size == 16 and cfg.train_dataloader.batch_size == 2


STOCK = """
import sys
from itertools import product
import torch
from mmengine.config import Config
from mmengine.runner import Runner

path, scenes, work, expected = sys.argv[1:]
cfg = Config.fromfile(path)
cfg.work_dir, cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = work, 2, 2
classes = tuple("0123456789")
cfg.model.roi_head.bbox_head.num_classes = cfg.model.roi_head.mask_head.num_classes = 10
cfg.model.train_cfg.rpn_proposal.max_per_img = cfg.model.test_cfg.rpn.max_per_img = 20
cfg.model.train_cfg.rcnn.sampler.num, cfg.model.test_cfg.rcnn.max_per_img = 8, 5
for loader, split in ((cfg.train_dataloader, "train2017"), (cfg.val_dataloader, "val2017")):
    loader.num_workers, loader.persistent_workers = 0, False
    data = loader.dataset
    data.data_root, data.metainfo = scenes, dict(classes=classes)
    data.pipeline = [t if t.type != "Resize" else dict(t, scale=(64, 64)) for t in data.pipeline]
cfg.val_evaluator.ann_file = scenes + "/annotations/instances_val2017.json"
runner = Runner.from_cfg(cfg)
runner.model.init_weights()
weights = torch.load(expected, weights_only=True)["state_dict"]
backbone = runner.model.backbone
assert weights.keys() == backbone.state_dict().keys()
assert all(torch.equal(tensor, weights[name]) for name, tensor in backbone.state_dict().items())
runner.train()
assert not torch.equal(backbone.conv1.weight, weights["conv1.weight"])
assert all(torch.isfinite(parameter).all() for parameter in runner.model.parameters())
batches = backbone.layer4[0].bn1.num_batches_tracked - weights["layer4.0.bn1.num_batches_tracked"]
print(type(backbone).__name__, batches.item())
"""


@requires("mmdet")
@pytest.mark.parametrize(("width", "kind"), [(0.5, "ResNet"), (0.9, "ChannelListResNet")])
def test_a_stock_mmdet_trains_it_without_this_project(width, kind, networks, tmp_path):
    net = networks["resnet18"]
    convert(net.extract(width), "mmdet", tmp_path / "narrow", net.metadata)
    scenes = make_scenes(tmp_path / "scenes", SceneSettings(train=4, val=2, size=64, seed=1))
    files = ["narrow/mask_rcnn_fpn.py", scenes, "work", "narrow/resnet18.pth"]
    done = stranger(STOCK, *files, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{kind} 2" and "bbox_mAP: " in done.stdout


@requires("mmdet")
def test_no_config_is_written_when_the_features_differ(networks, tmp_path, monkeypatch):
    net, right = networks["resnet18"], to_mmdet.backbone_state

    def wrong(plain):
        state = right(plain)
        state["layer3.1.bn2.running_mean"] += 1
        return state

    monkeypatch.setattr(to_mmdet, "backbone_state", wrong)
    with pytest.raises(RuntimeError, match="layer3 differs"):
        convert(net.extract(0.5), "mmdet", tmp_path / "out", net.metadata)
    assert list((tmp_path / "out").iterdir()) == []


@requires("mmdet")
def test_a_folder_that_is_converted_again_keeps_no_class_that_it_does_not_need(networks, tmp_path):
    net = networks["resnet18"]
    for width, listed in ((0.9, True), (0.5, False)):
        paths = convert(net.extract(width), "mmdet", tmp_path, net.metadata)
        assert sorted(tmp_path.iterdir()) == sorted(paths)
        assert (tmp_path / "channel_list_resnet.py").exists() == listed


@requires("mmdet")
def test_another_format_does_not_replace_its_weights(tmp_path):
    net = universal(base_channels=16, widths=(0.5,))
    paths = convert(net.extract(0.5), "mmdet", tmp_path, net.metadata)
    kept = {path: path.read_bytes() for path in paths}
    with pytest.raises(UserError, match=r"holds files for mmdet \(pretraining\.json\); expected another --output"):
        convert(net.extract(0.5), "torchvision", tmp_path, of_width(net, 0.5))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_cifar_stem_is_refused_because_of_its_strides(tmp_path):
    net = universal(stem="cifar", base_channels=8)
    with pytest.raises(UserError, match="strides 4 to 32, a cifar stem has others") as error:
        convert(net.extract(0.5), "mmdet", tmp_path, net.metadata)
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mobilenetv2", "vit_tiny"])
def test_a_backbone_that_is_no_resnet_is_refused_by_name(name, tmp_path):
    backbone = create_backbone(name)
    with torch.device("meta"):
        plain = backbone.plain(backbone.channels(0.5))
    with pytest.raises(UserError, match=f"no mmdet backbone for {name}; expected a ResNet"):
        convert(plain, "mmdet", tmp_path, {})


@pytest.mark.parametrize("absent", ["mmdet", "mmcv", "mmcv._ext"])
def test_without_mmdet_one_line_says_what_to_install(absent, tmp_path, monkeypatch):
    from transfer import installed

    monkeypatch.setattr(installed, "present", lambda module: module != absent)
    net = universal(base_channels=16)
    with pytest.raises(UserError, match=rf"^{absent} is not installed; .*make env EXTRAS=mmdet.*US3L_WHEELS") as error:
        convert(net.extract(0.5), "mmdet", tmp_path, net.metadata)
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []
