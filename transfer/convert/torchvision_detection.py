"""torchvision's detectors: a Python file that builds Faster or Mask R-CNN by torchvision's own BackboneWithFPN.

    resnet18.py      create_model("faster_rcnn" or "mask_rcnn", num_classes, …)
    resnet18.pth     the backbone's state dict
    resnet18.json    where it comes from

Nothing in them imports this project: torchvision's blocks take any inner channels by their ``base_width``.
"""

from pathlib import Path

import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.common.files import replacing, save_tensors
from pretrain.plain.resnet import PlainResNet
from transfer.convert.describe import as_json, description
from transfer.convert.fold import TOLERANCE
from transfer.convert.folder import executed

SOURCE = '''"""{title} as the backbone of torchvision's detectors; beside it lie its weights.

    from {name} import create_model

    model = create_model("faster_rcnn", num_classes=21)  # classes and the background
    losses = model.train()(images, targets)  # RGB in [0, 1], as torchvision's detectors take them
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import FrozenBatchNorm2d

STEM, INNER, OUTER, COUNTS = {stem}, {inner}, {outer}, {counts}
BLOCK, PROJECTED = {block}, {projected}
MEAN, STD = {mean}, {std}
KINDS = {{"faster_rcnn": FasterRCNN, "mask_rcnn": MaskRCNN}}


def stage(inputs, inner, outer, count, stride, project, norm):
    """Blocks of torchvision's own class; Bottleneck's inner channels are int(planes * base_width / 64)."""
    planes = outer // BLOCK.expansion
    width = 64 if BLOCK is BasicBlock else 64 * (inner + 0.5) / planes
    blocks = []
    for i in range(count):
        shortcut = None
        if i == 0 and project:
            shortcut = nn.Sequential(nn.Conv2d(inputs, outer, 1, stride, bias=False), norm(outer))
        blocks.append(BLOCK(inputs if i == 0 else outer, planes, stride if i == 0 else 1, shortcut, 1, width, 1, norm))
    return nn.Sequential(*blocks)


def create_backbone(pretrained=True, frozen_norms=True):
    """The body: conv1, bn1, relu, maxpool and four stages. frozen_norms: batch norms that small batches leave alone."""
    norm = FrozenBatchNorm2d if frozen_norms else nn.BatchNorm2d
    parts = [
        ("conv1", nn.Conv2d(3, STEM, 7, 2, 3, bias=False)), ("bn1", norm(STEM)), ("relu", nn.ReLU(inplace=True)),
        ("maxpool", nn.MaxPool2d(3, 2, 1)),
    ]
    inputs = STEM
    for i, (inner, outer, count) in enumerate(zip(INNER, OUTER, COUNTS)):
        layer = stage(inputs, inner, outer, count, 1 if i == 0 else 2, PROJECTED[i], norm)
        parts.append((f"layer{{i + 1}}", layer))
        inputs = outer
    body = nn.Sequential(OrderedDict(parts))
    if pretrained:
        body.load_state_dict(torch.load(Path(__file__).absolute().with_name("{name}.pth"), weights_only=True))
    return body


def create_model(kind="faster_rcnn", num_classes=91, pretrained=True, frozen_norms=True, channels=256, **options):
    """kind: faster_rcnn or mask_rcnn. channels: of the feature pyramid. options: of torchvision's class."""
    stages = {{f"layer{{i}}": str(i - 1) for i in range(1, 5)}}
    backbone = BackboneWithFPN(create_backbone(pretrained, frozen_norms), stages, list(OUTER), channels)
    settings = {{"image_mean": MEAN, "image_std": STD, **options}}
    return KINDS[kind](backbone, num_classes, **settings)
'''


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """The three files, the Python file first.

    Errors: UserError for a backbone that is no ResNet with the ImageNet stem; RuntimeError, before anything is
    written, if the body that the file builds computes other feature maps.
    """
    if not isinstance(plain, PlainResNet):
        raise UserError(f"{plain.name} is no ResNet; expected one for torchvision-detection, or --to timm")
    if plain.stem != "imagenet":
        raise UserError(
            f"torchvision's detectors take strides 4 to 32, a {plain.stem} stem has others; expected a backbone that "
            "was pretrained with stem = 'imagenet'"
        )
    name = plain.name
    paths = [output / f"{name}{suffix}" for suffix in (".py", ".pth", ".json")]
    record = {**description(plain, metadata), "load": f"from {name} import create_model; model = create_model()"}
    with replacing(paths[0]) as code, replacing(paths[1]) as weights, replacing(paths[2]) as beside:
        save_tensors(plain.state_dict(), weights)
        code.write_text(python_code(plain, record))
        beside.write_text(as_json(record, indent=2) + "\n")
        check(plain, code, weights)
    return paths


def python_code(plain: PlainResNet, record: dict) -> str:
    """The text of the Python file."""
    channels = plain.channels
    return SOURCE.format(
        title=f"{plain.name} with channels {channels.key}", name=plain.name, stem=channels.stem, inner=channels.inner,
        outer=channels.outer, counts=plain.blocks.counts, block="BasicBlock" if plain.blocks.basic else "Bottleneck",
        projected=tuple(plain.blocks.projects(i) for i in range(4)), mean=list(record["mean"]), std=list(record["std"]),
    )  # fmt: skip


@torch.no_grad()
def check(plain: PlainResNet, code: Path, weights: Path) -> None:
    """RuntimeError unless the file's body gives the four feature maps of ``plain``."""
    body = executed(code).create_backbone(pretrained=False, frozen_norms=False).eval()
    body.load_state_dict(torch.load(weights, weights_only=True))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps, x = plain.cpu().eval().stage_maps(images), images
    for name, layer in body.named_children():
        x = layer(x)
        if name.startswith("layer"):
            expected = maps[int(name[-1]) - 1]
            if not float((x - expected).abs().max()) <= TOLERANCE * float(expected.abs().max()):
                raise RuntimeError(f"torchvision's {name} computes other maps; nothing was written")
