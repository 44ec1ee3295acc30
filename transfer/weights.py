"""``--weights FILE``: any plain ResNet with torchvision's names as a start, beside the universal checkpoint's widths.

A supervised ResNet-50 from torchvision, a self-supervised one from anywhere, or what ``tools/convert.py --to
torchvision`` wrote: .pth or .safetensors. The network is read off the tensors; nothing but fc may be left over.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.common.shapes import shapes_only
from pretrain.plain.resnet import BLOCKS, PlainResNet, ResNetChannels
from pretrain.slimmable.widths import FOUR_WIDTHS, check_width
from pretrain.universal import weights_hash
from pretrain.weights.read import read_tensors
from transfer.results import result_folder

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
WIDTHS = (*FOUR_WIDTHS, *(k / 100 for k in range(99, 24, -1)))  # tried in this order


@dataclass
class PlainSource:
    """The same face as ``transfer.source.Source``, for one network. method: its label in results."""

    network: PlainResNet
    method: str
    metadata: dict
    file: Path

    is_random = False

    @property
    def backbone(self) -> str:
        return self.network.name

    @property
    def architecture(self) -> dict:
        """What the network is."""
        return {"name": self.backbone, "stem": self.network.stem, "channels": self.network.channels.key}

    @property
    def universal(self) -> torch.nn.Module:
        """The slimmable network of this depth, without weights: it knows the channels of each width."""
        with shapes_only():
            return create_backbone(self.backbone)

    @property
    def checkpoint_hash(self) -> str:
        return weights_hash(self.network.state_dict())

    @property
    def pretraining(self) -> dict:
        """What the file says of itself."""
        return {"file": self.file.name, **self.metadata}

    @property
    def default_widths(self) -> list[float]:
        """The width of a universal network that has these channels."""
        full = self.universal
        for width in WIDTHS:
            if full.channels(width) == self.network.channels:
                return [width]
        raise UserError(f"{self.file}: the channels {self.network.channels.key} are those of no width of "
                        f"{self.backbone}; expected torchvision's or a converted one's")  # fmt: skip

    def width(self, given: float) -> float:
        """``given``; UserError for what is no width."""
        return check_width(given)

    def check_widths(self, widths: list[float]) -> None:
        """UserError for a width whose channels are not the network's."""
        full = self.universal
        for width in widths or self.default_widths:
            if not 0 < width <= 1 or full.channels(width) != self.network.channels:
                raise UserError(f"{self.file} is no {self.backbone} of width {width:g}; its channels are "
                                f"{self.network.channels.key}, width {self.default_widths[0]:g}")  # fmt: skip

    def plain(self, width: float) -> PlainResNet:
        self.check_widths([width])
        return self.network

    def folder(self, output: Path, dataset: str, task: str, width: float) -> Path:
        """``output/<dataset>/<task>/width_<w>_<method>``: apart from the universal checkpoint's."""
        folder = result_folder(output, dataset, task, width, self.method)
        return folder.with_name(f"width_{width:g}_{self.method}")


def load_weights(file: Path, name: str | None = None) -> PlainSource:
    """Read ``file``. name: the method in results, by default the file's name without its ending.

    Errors: UserError for a file that cannot be read, or whose tensors are not those of a ResNet, naming the first
    that is missing, left over or of another shape.
    """
    file = Path(file)
    tensors, metadata = read_tensors(file)
    state = without_prefix(tensors, file)
    network = plain_network(state, file)
    label = file.stem if name is None else name
    if not label or label == "random" or "/" in label:
        raise UserError(f"'{label}' is no name for weights; give another one with --weights-name")
    return PlainSource(network, label, {**IMAGENET, **metadata}, file)


def without_prefix(tensors: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The backbone's tensors without what a wrapper put before their names (``module.``, ``backbone.`` …)."""
    stems = [name for name, t in tensors.items() if name.split(".")[-2:] == ["conv1", "weight"]
             and t.dim() == 4 and t.shape[1] == 3]  # fmt: skip
    prefixes = [name.removesuffix("conv1.weight") for name in stems]
    if not prefixes:
        raise UserError(f"{file} has no conv1.weight with 3 input channels; expected torchvision's ResNet names")
    if len(prefixes) > 1:
        raise UserError(f"{file} holds several networks, {', '.join(sorted(prefixes))}; expected one")
    return {n.removeprefix(prefixes[0]): t for n, t in tensors.items() if n.startswith(prefixes[0])}


def plain_network(state: dict[str, Tensor], file: Path) -> PlainResNet:
    """The network of ``state``, in eval mode; its depth, stem and channels are read off the shapes."""
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()
             if name.partition(".")[0] != "fc"}  # fmt: skip
    depth = depth_of(state)
    last = BLOCKS[depth].convolutions
    found = [f"layer{i}.0.conv{j}.weight" for i in range(1, 5) for j in (1, last)]
    missing = [name for name in found if name not in state]
    if missing:
        raise UserError(f"{file} has no {missing[0]}; expected a ResNet with torchvision's names")
    channels = ResNetChannels(
        len(state["conv1.weight"]),
        *(tuple(len(state[f"layer{i}.0.conv{j}.weight"]) for i in range(1, 5)) for j in (1, last)),
    )
    network = PlainResNet(depth, channels, "cifar" if state["conv1.weight"].shape[-1] == 3 else "imagenet")
    check_state(state, network, file)
    network.load_state_dict(state, strict=False)
    return network.eval()


def depth_of(state: dict[str, Tensor]) -> int:
    """The depth whose blocks are those of ``state``, or nearest to them."""
    places = {tuple(name.split(".")[:2]) for name in state if name.startswith("layer")}
    counts = [sum(stage == f"layer{i}" for stage, _ in places) for i in range(1, 5)]
    convolutions = 3 if "layer1.0.conv3.weight" in state else 2
    alike = [depth for depth, blocks in BLOCKS.items() if blocks.convolutions == convolutions]
    return min(alike, key=lambda depth: sum(abs(a - b) for a, b in zip(BLOCKS[depth].counts, counts)))


def check_state(state: dict[str, Tensor], network: PlainResNet, file: Path) -> None:
    """UserError unless names and shapes are the network's; old files may lack ``num_batches_tracked``."""
    expected = network.state_dict()
    what = f"expected a ResNet-{network.depth} of blocks {network.blocks.counts} with torchvision's names"
    for kind, names in (
        ("lacks", [n for n in expected if n not in state and not n.endswith("num_batches_tracked")]),
        ("has unexpected", [n for n in state if n not in expected]),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"{file} {kind} {names[0]}{more}; {what}")
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise UserError(f"{file}: {name} has the shape {list(tensor.shape)}, not "
                            f"{list(expected[name].shape)}; {what}")  # fmt: skip
