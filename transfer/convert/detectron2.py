"""detectron2: Mask R-CNN on a backbone of any width as files that a stock detectron2 loads and trains.

    mask_rcnn_fpn.py     LazyConfig: the recipe of configs/transfer/mask_rcnn_fpn_coco.py with this backbone's channels
    mask_rcnn_fpn.pth    the backbone's weights, for DetectionCheckpointer
    mask_rcnn_fpn.yaml   the same model as a yaml, for ResNet-50 and -101 at the widths that a yaml can say
    pretraining.json     the description

Nothing in them imports this project. ``ResNet.make_stage`` takes each stage's channels, so a LazyConfig says any width;
the yaml derives all channels from the stem's and the first stage's, which fits
bottleneck blocks at multiples of 1/8.
"""

from pathlib import Path

import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.common.files import replacing, save_tensors
from pretrain.plain.resnet import PlainResNet
from transfer.convert.describe import BESIDE, as_json, description
from transfer.installed import require_detectron2, without_deprecations
from transfer.recipes import RECIPES

RECIPE = RECIPES["detectron2"]["coco"]
NAME = "mask_rcnn_fpn"
ZOO_YAML = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """Write the LazyConfig, the weights, the description and, where it can, the yaml; the config after its weights.

    Errors: UserError for a backbone that is no ResNet or has a CIFAR stem; RuntimeError, before anything is replaced,
    if the features of res2 to res5 that detectron2 computes from the files differ from ``plain.stage_maps``.
    """
    check_sayable(plain)
    require_detectron2()
    if not RECIPE.is_file():
        raise UserError(f"no recipe at {RECIPE}; expected this project to run from its repository, not from a copy")
    config, weights, beside = output / f"{NAME}.py", output / f"{NAME}.pth", output / BESIDE
    state = backbone_state(plain)
    with (
        without_deprecations(), replacing(config) as partial_config, replacing(weights) as partial_weights,
        replacing(beside) as partial_beside,
    ):  # fmt: skip
        partial_beside.write_text(as_json(description(plain, metadata), indent=2) + "\n")
        save_tensors({"model": state, "__author__": "US3L", "matching_heuristics": True}, partial_weights)
        partial_config.write_text(lazy_config(plain, metadata, weights.name))
        check_features(plain, partial_config, partial_weights)
    paths = [config, weights]
    if said_by_yaml(plain):
        paths.append(output / f"{NAME}.yaml")
        with replacing(paths[-1]) as partial:
            partial.write_text(yaml_config(plain, metadata, weights.name))
    return [*paths, beside]


def check_sayable(plain: nn.Module) -> None:
    """UserError unless detectron2's classes can build ``plain``.

    The stages must have the strides 4, 8, 16, 32 of detectron2's stem and pyramid, and the first block of each a
    projection exactly where the channels change, which is where detectron2 puts one: true of every width of ResNets
    in [0.25, 1], but not of one so narrow that neighbouring stages round to the same channels.
    """
    if not isinstance(plain, PlainResNet):
        raise UserError(f"detectron2 has no class that computes {plain.name}; expected a ResNet")
    if plain.stem != "imagenet":
        raise UserError(
            f"detectron2's detectors take strides 4 to 32, a {plain.stem} stem has others; expected a backbone that "
            "was pretrained with stem = 'imagenet'"
        )
    inputs = plain.channels.stem
    for stage, outer in enumerate(plain.channels.outer):
        if (inputs != outer) != plain.blocks.projects(stage):
            raise UserError(
                f"stage {stage + 1} has {inputs} channels in and {outer} out, which detectron2 cannot say "
                "with this backbone's projections; expected a wider one"
            )
        inputs = outer


def backbone_state(plain: PlainResNet) -> dict[str, torch.Tensor]:
    """The weights under detectron2's names: ``layer1.0.conv1.weight`` becomes ``res2.0.conv1.weight``."""
    return {rename(name): tensor.detach().cpu().clone() for name, tensor in plain.state_dict().items()}


def rename(name: str) -> str:
    """
    >>> rename("layer1.0.bn2.running_mean"), rename("layer2.0.downsample.1.bias"), rename("bn1.weight")
    ('res2.0.conv2.norm.running_mean', 'res3.0.shortcut.norm.bias', 'stem.conv1.norm.weight')
    """
    if not name.startswith("layer"):
        name = f"stem.{name}"
    for stage in range(1, 5):
        name = name.replace(f"layer{stage}.", f"res{stage + 1}.")
    name = name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
    for i in range(1, 4):
        name = name.replace(f"bn{i}.", f"conv{i}.norm.")
    return name


def lazy_config(plain: PlainResNet, metadata: dict, weights_name: str) -> str:
    """The recipe's text, and below it this backbone: python source."""
    mean, std = pixel_statistics(metadata)
    recipe = RECIPE.read_text().split('"""', 2)[2].lstrip()  # its docstring speaks of this project's documents
    stages = "\n".join(f"    {stage}," for stage in stage_calls(plain))
    return f'''"""Mask R-CNN with a feature pyramid on a pretrained ResNet-{plain.depth}, for detectron2."""

{recipe}
# The pretrained backbone: ResNet-{plain.depth} with channels {plain.channels.key}.
from pathlib import Path  # noqa: E402

from detectron2.modeling.backbone.resnet import BasicBlock  # noqa: E402, F401

model.backbone.bottom_up.stem.out_channels = {plain.channels.stem}
model.backbone.bottom_up.stages = [
{stages}
]
model.pixel_mean = {mean}
model.pixel_std = {std}
train.init_checkpoint = str(Path(__file__).absolute().with_name("{weights_name}"))
'''


def stage_calls(plain: PlainResNet) -> list[str]:
    """One ``L(ResNet.make_stage)(...)`` per stage."""
    channels, inputs, calls = plain.channels, plain.channels.stem, []
    for i, count in enumerate(plain.blocks.counts):
        block = (
            "block_class=BasicBlock" if plain.blocks.basic
            else f"block_class=BottleneckBlock, bottleneck_channels={channels.inner[i]}, stride_in_1x1=False"
        )  # fmt: skip
        strides = [1 if i == 0 else 2] + [1] * (count - 1)
        calls.append(
            f"L(ResNet.make_stage)({block}, num_blocks={count}, stride_per_block={strides}, "
            f"in_channels={inputs}, out_channels={channels.outer[i]}, norm=norm)"
        )
        inputs = channels.outer[i]
    return calls


def pixel_statistics(metadata: dict) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of pretraining for RGB images in 0 to 255."""
    return [round(255 * m, 4) for m in metadata["mean"]], [round(255 * s, 4) for s in metadata["std"]]


def said_by_yaml(plain: PlainResNet) -> bool:
    """Whether every stage's channels double and its output is four times its inner ones, as a yaml assumes."""
    c = plain.channels
    return not plain.blocks.basic and all(
        inner == c.stem * 2**i and outer == 4 * inner
        for i, (inner, outer) in enumerate(zip(c.inner, c.outer, strict=True))
    )


def yaml_config(plain: PlainResNet, metadata: dict, weights_name: str) -> str:
    """The same model and schedule for detectron2's yaml configs: what differs from its defaults."""
    import yaml
    from detectron2 import model_zoo
    from detectron2.config import get_cfg

    cfg = model_zoo.get_config(ZOO_YAML)
    resnets = cfg.MODEL.RESNETS
    resnets.DEPTH = plain.depth
    resnets.STEM_OUT_CHANNELS = resnets.WIDTH_PER_GROUP = plain.channels.stem
    resnets.RES2_OUT_CHANNELS = plain.channels.outer[0]
    resnets.STRIDE_IN_1X1, resnets.NORM = False, "SyncBN"
    cfg.MODEL.FPN.NORM = cfg.MODEL.ROI_BOX_HEAD.NORM = cfg.MODEL.ROI_MASK_HEAD.NORM = "SyncBN"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = pixel_statistics(metadata)
    cfg.INPUT.FORMAT = "RGB"
    cfg.MODEL.WEIGHTS = weights_name
    what = f"Mask R-CNN R-{plain.depth} FPN 1x, channels {plain.channels.key}"
    return f"# {what}. Start in this folder, or set MODEL.WEIGHTS.\n" + yaml.safe_dump(
        changed(yaml.safe_load(cfg.dump()), yaml.safe_load(get_cfg().dump()))
    )


def changed(config: dict, default: dict) -> dict:
    """The entries of ``config`` that differ from ``default``, section by section; VERSION always."""
    found = {}
    for key, value in config.items():
        if isinstance(value, dict) and isinstance(default.get(key), dict):
            value = changed(value, default[key])
            if value:
                found[key] = value
        elif key == "VERSION" or value != default.get(key):
            found[key] = value
    return found


@torch.no_grad()
def check_features(plain: PlainResNet, config: Path, weights: Path) -> None:
    """RuntimeError unless detectron2 computes the features of ``plain`` from the two files."""
    from detectron2.config import LazyConfig, instantiate

    bottom_up = instantiate(LazyConfig.load(str(config)).model.backbone.bottom_up).eval()
    bottom_up.load_state_dict(torch.load(weights, weights_only=True)["model"])
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    training, device = plain.training, next(plain.parameters()).device
    expected = [stage.cpu() for stage in plain.eval().stage_maps(images.to(device))]
    plain.train(training)
    for (name, found), stage in zip(bottom_up(images).items(), expected, strict=True):
        if not torch.allclose(found, stage, rtol=1e-4, atol=1e-4 * float(stage.abs().max())):
            worst = float((found - stage).abs().max())
            raise RuntimeError(
                f"detectron2's {name} differs from the backbone's by up to {worst:.3g}; nothing was written"
            )
