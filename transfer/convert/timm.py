"""timm: the weights under timm's names and a Python file that builds the network from timm's own classes.

    resnet50.py      create_model(num_classes=0, **options), with timm's options (features_only, in_chans ...)
    resnet50.pth     the state dict
    resnet50.json    where it comes from

Nothing in them imports this project. timm's ResNet has a stem of 64 channels and blocks whose output is a multiple of
their inner channels, so it says the full width alone. Any other width is said by timm's ByobNet ("bring your own
blocks"), which takes each block's channels; its layers have other names, and the weights are renamed. MobileNetV2 is
timm's EfficientNet, which takes any channels.

A backbone of another class joins by a function (plain, metadata) -> ``Translation`` in ``TRANSLATIONS``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat

import torch
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.common.files import replacing, save_tensors
from pretrain.plain.convnext import PlainConvNeXt
from pretrain.plain.mobilenetv2 import (
    BLOCKS,
    EXPANSION,
    PlainMobileNetV2,
    block_plans,
    strides,
    timm_names,
)
from pretrain.plain.resnet import BLOCKS as RESNETS
from pretrain.plain.resnet import PlainResNet
from pretrain.plain.vit import PlainViT
from transfer.convert.describe import as_json, description
from transfer.convert.fold import check_same
from transfer.convert.folder import executed

HEADER = '''"""{title}, for timm; beside it lie its weights.

    from {name} import create_model

    model = create_model(num_classes=10)  # 0 (default): features; any option of timm.create_model, e.g. features_only
"""

from pathlib import Path

{imports}

PRETRAINED = {pretrained}
{constants}

def create_model(pretrained=True, num_classes=0, **options):
    """pretrained: load the weights that lie beside this file."""
    weights = {{**PRETRAINED, "file": str(Path(__file__).absolute().with_name("{name}.pth"))}}
    return {call}
'''


@dataclass(frozen=True)
class Translation:
    """state: the weights under timm's names. imports, constants, call: of the file that builds the network; ``call`` is
    an expression of ``weights`` (a pretrained_cfg), ``pretrained``, ``num_classes`` and ``options``. traits: what a
    pretrained_cfg calls ``first_conv`` and ``classifier``."""

    state: dict[str, Tensor]
    imports: str
    call: str
    traits: dict[str, str]
    constants: str = ""


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """Write the three files; the Python file is first in the list.

    Errors: UserError for a backbone that timm cannot say; RuntimeError, before anything is written, if the model that
    the Python file builds computes other features.
    """
    if type(plain) not in TRANSLATIONS:
        raise UserError(f"nothing tells timm's names of {type(plain).__name__}; expected --to safetensors or onnx")
    name = plain.name
    translation = TRANSLATIONS[type(plain)](plain, metadata)
    record = description(plain, metadata)
    paths = [output / f"{name}{suffix}" for suffix in (".py", ".pth", ".json")]
    with replacing(paths[0]) as code, replacing(paths[1]) as weights, replacing(paths[2]) as beside:
        save_tensors(translation.state, weights)
        code.write_text(python_code(translation, name, record))
        record |= {"load": f"from {name} import create_model; model = create_model()"}
        beside.write_text(as_json(record, indent=2) + "\n")
        check_same(plain, built(code, weights), getattr(plain, "image_size", 64))
    return paths


def python_code(translation: Translation, name: str, record: dict) -> str:
    """The text of the Python file."""
    size = record["image_size"]
    pretrained = {
        "architecture": name, "num_classes": 0, "input_size": (3, size, size), "mean": tuple(record["mean"]),
        "std": tuple(record["std"]), "interpolation": "bilinear", "crop_pct": 1.0, **translation.traits,
    }  # fmt: skip
    return HEADER.format(
        title=f"{name} with channels {record['channels']}" if record["channels"] else name,
        name=name, imports=translation.imports, call=translation.call,
        pretrained=pformat(pretrained, width=110, sort_dicts=False),
        constants=f"{translation.constants}\n" if translation.constants else "",
    )  # fmt: skip


def built(code: Path, weights: Path) -> nn.Module:
    """The model of a written Python file, with weights that may lie under another name."""
    model = executed(code).create_model(pretrained=False)
    model.load_state_dict(torch.load(weights, weights_only=True), strict=True)
    return model


def resnet(plain: PlainResNet, metadata: dict) -> Translation:
    """timm's ResNet at the full width, its ByobNet at any other; UserError for a CIFAR stem, which neither has."""
    if plain.stem != "imagenet":
        raise UserError(f"timm's networks have no {plain.stem} stem; expected a backbone with stem = 'imagenet'")
    state = {name: tensor.detach().cpu().clone() for name, tensor in plain.state_dict().items()}
    if said_by_resnet(plain):
        call = (
            f'timm.create_model("resnet{plain.depth}", pretrained, pretrained_cfg=weights, num_classes=num_classes, '
            "**options)"
        )
        return Translation(state, "import timm", call, {"first_conv": "conv1", "classifier": "fc"})
    check_eights((plain.channels.stem, *plain.channels.inner, *plain.channels.outer))
    call = (
        "build_model_with_cfg(\n"
        f'        ByobNet, "resnet{plain.depth}", pretrained, pretrained_cfg=weights, model_cfg=CONFIG,\n'
        '        feature_cfg={"flatten_sequential": True}, num_classes=num_classes, **options,\n    )'
    )
    return Translation(
        {byob_name(name, plain.depth): tensor for name, tensor in state.items()},
        "from timm.models import build_model_with_cfg\n"
        "from timm.models.byobnet import ByobNet, ByoBlockCfg, ByoModelCfg",
        call,
        {"first_conv": "stem.conv1.conv", "classifier": "head.fc"},
        byob_config(plain),
    )


def check_eights(counts: Iterable[int]) -> None:
    """UserError for channels of layers that timm rounds, as those of a plan by stage can be."""
    odd = [count for count in counts if count % 8]
    if odd:
        raise UserError(f"timm rounds these layers to multiples of 8, and one has {odd[0]}; expected --to onnx")


def said_by_resnet(plain: PlainResNet) -> bool:
    """Whether the channels are those of the ordinary ResNet."""
    channels, expansion = plain.channels, plain.blocks.expansion
    inner = (64, 128, 256, 512)
    return channels.stem == 64 and channels.inner == inner and channels.outer == tuple(expansion * c for c in inner)


def byob_config(plain: PlainResNet) -> str:
    """``CONFIG = ByoModelCfg(...)``: a stage's ratio is inner to outer channels; ByobNet rounds to eights."""
    kind, lines = "basic" if plain.blocks.basic else "bottle", []
    for i, (depth, inner, outer) in enumerate(zip(plain.blocks.counts, plain.channels.inner, plain.channels.outer)):
        ratio = "1.0" if inner == outer else f"{inner} / {outer}"
        lines.append(f'        ByoBlockCfg(type="{kind}", d={depth}, c={outer}, s={1 if i == 0 else 2}, br={ratio}),')
    blocks = "\n".join(lines)
    return (
        f'CONFIG = ByoModelCfg(\n    blocks=(\n{blocks}\n    ),\n    stem_chs={plain.channels.stem}, stem_type="7x7", '
        'stem_pool="maxpool", downsample="conv1x1",\n)\n'
    )


def byob_name(name: str, depth: int) -> str:
    """ByobNet's name of one of our tensors.

    >>> byob_name("layer2.0.conv2.weight", 18), byob_name("layer1.1.bn3.bias", 50), byob_name("bn1.running_var", 50)
    ('stages.1.0.conv2_kxk.conv.weight', 'stages.0.1.conv3_1x1.bn.bias', 'stem.conv1.bn.running_var')
    >>> byob_name("layer3.0.downsample.1.weight", 50)
    'stages.2.0.shortcut.bn.weight'
    """
    kernels = {"1": "kxk", "2": "kxk"} if RESNETS[depth].basic else {"1": "1x1", "2": "kxk", "3": "1x1"}
    *place, layer, tensor = name.split(".")
    if not place:
        return f"stem.conv1.{'conv' if layer.startswith('conv') else 'bn'}.{tensor}"
    stage, block = f"stages.{int(place[0].removeprefix('layer')) - 1}", place[1]
    if place[2:] == ["downsample"]:
        return f"{stage}.{block}.shortcut.{'conv' if layer == '0' else 'bn'}.{tensor}"
    kind, number = layer[:-1], layer[-1]
    return f"{stage}.{block}.conv{number}_{kernels[number]}.{kind}.{tensor}"


def vit(plain: PlainViT, metadata: dict) -> Translation:
    """timm's VisionTransformer, told its sizes; UserError for narrow inputs, which it cannot say."""
    arguments = {key: value for key, value in plain.timm_arguments().items() if key != "num_classes"}
    state = {name: tensor.detach().cpu().clone() for name, tensor in plain.state_dict().items()}
    sizes = ", ".join(f"{key}={value}" for key, value in arguments.items())
    call = (
        f'timm.create_model(\n        "{plain.name}_patch16_224", pretrained, pretrained_cfg=weights, {sizes},\n'
        "        num_classes=num_classes, **options,\n    )"
    )
    traits = {"first_conv": "patch_embed.proj", "classifier": "head", "fixed_input_size": True}
    return Translation(state, "import timm", call, traits)


def convnext(plain: PlainConvNeXt, metadata: dict) -> Translation:
    """timm's ConvNeXt, told channels and patches; UserError for patches of 2 px, after which it halves once more."""
    if plain.patch_size == 2:
        raise UserError("timm's ConvNeXt halves maps once more after patches of 2 px; expected patch_size = 4 or 1")
    state = {name: tensor.detach().cpu().clone() for name, tensor in plain.state_dict().items()}
    sizes = f"dims={plain.channels.stages}, patch_size={plain.patch_size}"
    call = (
        f'timm.create_model(\n        "{plain.name}", pretrained, pretrained_cfg=weights, {sizes},\n'
        f"        num_classes=num_classes, **options,\n    )"
    )
    return Translation(state, "import timm", call, {"first_conv": "stem.0", "classifier": "head.fc"})


def mobilenetv2(plain: PlainMobileNetV2, metadata: dict) -> Translation:
    """timm's EfficientNet, told the channels of every stage; UserError for a CIFAR stem, which it does not have.

    timm gives a block a shortcut wherever its sizes allow one, which at narrow widths is where none was trained.
    """
    if plain.stem != "imagenet":
        raise UserError(f"timm's networks have no {plain.stem} stem; expected a backbone with stem = 'imagenet'")
    check_eights(block.hidden for block in block_plans(plain.channels, plain.stem) if block.expands)
    channels, stages = plain.channels, []
    for i, (count, outputs, stride) in enumerate(zip(BLOCKS, channels.outer, strides(plain.stem)[1], strict=True)):
        kind = "ds_r{}_k3_s{}" if i == 0 else f"ir_r{{}}_k3_s{{}}_e{EXPANSION}"
        first, others = (f"{kind.format(n, s)}_c{outputs}" for n, s in ((1, stride), (count - 1, 1)))
        stages.append([f"{first}_noskip", *([others] if count > 1 else [])])
    names = timm_names()
    state = {
        f"{names[module]}.{kind}": tensor.detach().cpu().clone()
        for name, tensor in plain.state_dict().items()
        for module, _, kind in [name.rpartition(".")]
    }
    call = (
        "build_model_with_cfg(\n"
        '        EfficientNet, "mobilenetv2", pretrained, pretrained_cfg=weights, block_args=decode_arch_def(BLOCKS),\n'
        f"        stem_size={channels.stem}, num_features={channels.last}, round_chs_fn=int, act_layer=ReLU6,\n"
        '        feature_cfg={"feature_cls": "hook"}, num_classes=num_classes, **options,\n    )'
    )
    imports = (
        "from timm.models import build_model_with_cfg\n"
        "from timm.models._efficientnet_builder import decode_arch_def\n"
        "from timm.models.efficientnet import EfficientNet\n"
        "from torch.nn import ReLU6"
    )
    traits = {"first_conv": "conv_stem", "classifier": "classifier"}
    return Translation(state, imports, call, traits, f"BLOCKS = {pformat(stages, width=110)}\n")


TRANSLATIONS: dict[type[nn.Module], Callable[[nn.Module, dict], Translation]] = {
    PlainResNet: resnet,
    PlainViT: vit,
    PlainConvNeXt: convnext,
    PlainMobileNetV2: mobilenetv2,
}
