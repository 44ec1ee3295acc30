"""mmdet: the two detectors on a backbone of any width as files that a stock mmdet 3 loads and trains.

    mask_rcnn_fpn.py          config: the recipe of configs/transfer/mmdet/mask_rcnn_fpn_coco.py with this backbone
    faster_rcnn_fpn.py        config: the recipe of configs/transfer/mmdet/faster_rcnn_fpn_voc.py with this backbone
    resnet50.pth              the backbone's weights, which the configs name
    channel_list_resnet.py    the backbone's class, at the widths that mmdet's own ResNet cannot say
    pretraining.json          the description

Nothing in them imports this project. mmdet's ResNet takes ``stem_channels`` and ``base_channels`` and doubles them from
stage to stage: true of widths near multiples of 1/8 (bottleneck blocks: within 1/512 of one, basic ones: within 1/128).
At any other width the channels are listed.
"""

import shutil
from pathlib import Path

import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.common.files import replacing, save_tensors
from pretrain.plain.resnet import BLOCKS, PlainResNet, ResNetChannels
from transfer.convert.describe import BESIDE, as_json, description
from transfer.convert.detectron2 import pixel_statistics
from transfer.convert.folder import without_bytecode
from transfer.installed import require_mmdet, without_deprecations
from transfer.recipes import FOLDERS, RECIPES

DETECTORS = {"mask_rcnn_fpn": RECIPES["mmdet"]["coco"], "faster_rcnn_fpn": RECIPES["mmdet"]["voc"]}
TITLES = {"mask_rcnn_fpn": "Mask R-CNN", "faster_rcnn_fpn": "Faster R-CNN"}
CHANNEL_LIST = Path(__file__).with_name("channel_list_resnet.py")


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """Write both configs, the weights, the class where it is needed, and the description.

    Errors: UserError for a backbone that is no ResNet or has a CIFAR stem; RuntimeError, before a config is written, if
    the stages that mmdet computes from the files differ from ``plain.stage_maps``.
    """
    check_sayable(plain)
    require_mmdet()
    if not all(recipe.is_file() for recipe in DETECTORS.values()):
        raise UserError(
            f"no recipes in {FOLDERS['mmdet']}; expected this project to run from its repository, not from a copy"
        )
    weights, listed, beside = (output / name for name in (f"resnet{plain.depth}.pth", CHANNEL_LIST.name, BESIDE))
    configs = [output / f"{name}.py" for name in DETECTORS]
    with without_deprecations(), replacing(weights) as partial_weights, replacing(beside) as partial_beside:
        partial_beside.write_text(as_json(description(plain, metadata), indent=2) + "\n")
        save_tensors({"state_dict": backbone_state(plain)}, partial_weights)
        if native(plain.depth, plain.channels) is None:
            with replacing(listed) as partial:
                shutil.copyfile(CHANNEL_LIST, partial)
        else:
            listed.unlink(missing_ok=True)  # of an earlier conversion into this folder
        for path in configs:
            with replacing(path) as partial:
                partial.write_text(config_text(path.stem, plain, metadata, weights.name))
                check_features(plain, partial, partial_weights)
    return [*configs, weights, *([] if native(plain.depth, plain.channels) else [listed]), beside]


def check_sayable(plain: nn.Module) -> None:
    """UserError unless ``plain`` is a ResNet whose stages have the strides 4, 8, 16, 32 of a pyramid."""
    if not isinstance(plain, PlainResNet):
        raise UserError(f"there is no mmdet backbone for {plain.name}; expected a ResNet")
    if plain.stem != "imagenet":
        raise UserError(
            f"mmdet's detectors take strides 4 to 32, a {plain.stem} stem has others; expected a backbone that "
            "was pretrained with stem = 'imagenet'"
        )


def native(depth: int, channels: ResNetChannels) -> dict[str, int] | None:
    """``stem_channels`` and ``base_channels`` with which mmdet's own ResNet has these channels, or None.

    >>> from pretrain.backbones import create_backbone
    >>> native(50, create_backbone("resnet50").channels(0.5)), native(50, create_backbone("resnet50").channels(0.9))
    ({'stem_channels': 32, 'base_channels': 32}, None)
    """
    base, blocks = channels.inner[0], BLOCKS[depth]
    doubling = tuple(base * 2**i for i in range(4))
    if channels.inner != doubling or channels.outer != tuple(blocks.expansion * inner for inner in doubling):
        return None
    if not blocks.projects(0) and channels.stem != base:  # mmdet would put a projection into the first block
        return None
    return {"stem_channels": channels.stem, "base_channels": base}


def backbone_state(plain: PlainResNet) -> dict[str, torch.Tensor]:
    """The weights; mmdet's names are torchvision's, as ``plain``'s are."""
    return {name: tensor.detach().cpu().clone() for name, tensor in plain.state_dict().items()}


def config_text(name: str, plain: PlainResNet, metadata: dict, weights_name: str) -> str:
    """The recipe's text, and below it this backbone: the source of a config."""
    mean, std = pixel_statistics(metadata)
    recipe = DETECTORS[name].read_text().split('"""', 2)[2].lstrip()
    title = f"{TITLES[name]} with a feature pyramid on a pretrained ResNet-{plain.depth}, for mmdet 3."
    return f'''"""{title}"""

{recipe}
# The pretrained backbone: ResNet-{plain.depth} with channels {plain.channels.key}.
{backbone_text(plain, weights_name)}
model["neck"].update(in_channels={list(plain.channels.outer)})
model["data_preprocessor"] = dict(mean={mean}, std={std})
'''


def backbone_text(plain: PlainResNet, weights_name: str) -> str:
    """``model["backbone"]`` as mmdet's ResNet where that can say the channels, else as ChannelListResNet.

    The config's folder goes on python's path, so that the class beside it is found wherever the training starts.
    """
    start = f'dict(type="Pretrained", checkpoint="{{{{ fileDirname }}}}/{weights_name}")'
    known = native(plain.depth, plain.channels)
    if known:
        channels = ", ".join(f"{key}={value}" for key, value in known.items())
        return f'model["backbone"].update(\n    depth={plain.depth}, {channels},\n    init_cfg={start},\n)'
    return f'''import sys

sys.path.insert(0, "{{{{ fileDirname }}}}")
custom_imports = dict(imports=["{CHANNEL_LIST.stem}"])
model["backbone"] = dict(
    _delete_=True,
    type="ChannelListResNet",
    depth={plain.depth},
    stem_channels={plain.channels.stem},
    inner_channels={plain.channels.inner},
    stage_channels={plain.channels.outer},
    norm_cfg=norm_cfg,
    init_cfg={start},
)'''


@torch.no_grad()
def check_features(plain: PlainResNet, config: Path, weights: Path) -> None:
    """RuntimeError unless mmdet computes the stages of ``plain`` from the two files, all of its weights loaded."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    with without_bytecode():
        backbone = Config.fromfile(config).model.backbone
    backbone.init_cfg = None  # it names the file that the weights will have
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(backbone)
    model.eval()
    model.load_state_dict(torch.load(weights, weights_only=True)["state_dict"], strict=True)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    training, device = plain.training, next(plain.parameters()).device
    expected = [stage.cpu() for stage in plain.eval().stage_maps(images.to(device))]
    plain.train(training)
    for i, (found, stage) in enumerate(zip(model(images), expected, strict=True), start=1):
        if not torch.allclose(found, stage, rtol=1e-4, atol=1e-4 * float(stage.abs().max())):
            worst = float((found - stage).abs().max())
            raise RuntimeError(
                f"mmdet's layer{i} differs from the backbone's by up to {worst:.3g}; nothing was written"
            )
