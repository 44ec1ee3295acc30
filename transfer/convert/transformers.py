"""transformers: a folder that ``ResNetModel.from_pretrained`` reads, where its configuration can say the width.

    config.json          ``ResNetConfig(embedding_size=…, hidden_sizes=…)``
    model.safetensors    the weights under its names
    pretraining.json     the description

Its blocks have inner channels that are the outer ones (basic) or a quarter of them (bottleneck), which rounding leaves
so at some widths only. What it cannot say is written for timm, whose models transformers runs by its TimmWrapper.
"""

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pretrain.common.files import read_object, replacing, write_text
from pretrain.plain.resnet import PlainResNet
from transfer.convert import timm
from transfer.convert.describe import BESIDE, as_json, description
from transfer.convert.export import quiet
from transfer.convert.fold import TOLERANCE
from transfer.convert.folder import check_names


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """The three files, or timm's (``transfer.convert.timm``) for a network that ResNetConfig cannot say.

    Errors: UserError for a network that timm cannot say either, and for a folder where files of these names are
    somebody else's; RuntimeError, before anything is written, if transformers computes other features.
    """
    if not sayable(plain):
        print(f"transformers' ResNetConfig cannot say {plain.name} with these channels: written for timm", flush=True)
        return timm.write(plain, output, metadata)
    paths = [output / name for name in ("config.json", "model.safetensors", BESIDE)]
    check_names("transformers", paths, own="folded_bn" in read_object(paths[2]))
    state = {renamed(name): tensor.detach().cpu().contiguous() for name, tensor in plain.state_dict().items()}
    config = configuration(plain)
    check(plain, config, state)
    write_text(paths[2], as_json(description(plain, metadata), indent=2) + "\n")  # first: it says whose the others are
    with replacing(paths[1]) as weights:
        save_file(state, weights, {"format": "pt"})
    write_text(paths[0], as_json({**config.to_dict(), "architectures": ["ResNetModel"]}, indent=2) + "\n")
    return paths


def sayable(plain: nn.Module) -> bool:
    """Whether ResNetConfig has these blocks, channels and stem."""
    if not isinstance(plain, PlainResNet) or plain.stem != "imagenet":
        return False
    channels, ratio = plain.channels, plain.blocks.expansion
    same = all(outer == ratio * inner for inner, outer in zip(channels.inner, channels.outer, strict=True))
    return same and (ratio > 1 or channels.stem == channels.outer[0])


def configuration(plain: PlainResNet) -> "transformers.ResNetConfig":  # noqa: F821
    import transformers

    return transformers.ResNetConfig(
        embedding_size=plain.channels.stem, hidden_sizes=list(plain.channels.outer), depths=list(plain.blocks.counts),
        layer_type="basic" if plain.blocks.basic else "bottleneck", num_channels=plain.input_channels,
    )  # fmt: skip


@torch.no_grad()
def check(plain: nn.Module, config: "transformers.ResNetConfig", state: dict[str, Tensor]) -> None:  # noqa: F821
    """RuntimeError unless stock transformers computes the features of random images from ``config`` and ``state``."""
    import transformers

    with tempfile.TemporaryDirectory() as scratch, quiet():
        config.save_pretrained(scratch)
        save_file(state, Path(scratch) / "model.safetensors", {"format": "pt"})
        model, told = transformers.ResNetModel.from_pretrained(scratch, output_loading_info=True)
    if told["missing_keys"] or told["unexpected_keys"] or told["mismatched_keys"]:
        raise RuntimeError(f"transformers wants other weights: {told}; nothing was written")
    images = torch.randn(2, plain.input_channels, 64, 64, generator=torch.Generator().manual_seed(0))
    expected, found = plain.cpu().eval()(images), model.eval()(images).pooler_output.flatten(1)
    if not float((found - expected).abs().max()) <= TOLERANCE * float(expected.abs().max()):
        raise RuntimeError("transformers computes other features; nothing was written")


def renamed(name: str) -> str:
    """transformers' name of one of our tensors.

    >>> renamed("layer2.0.conv2.weight"), renamed("bn1.running_var")
    ('encoder.stages.1.layers.0.layer.1.convolution.weight', 'embedder.embedder.normalization.running_var')
    >>> renamed("layer3.0.downsample.1.weight")
    'encoder.stages.2.layers.0.shortcut.normalization.weight'
    """
    *place, layer, tensor = name.split(".")
    if not place:
        return f"embedder.embedder.{'convolution' if layer.startswith('conv') else 'normalization'}.{tensor}"
    block = f"encoder.stages.{int(place[0].removeprefix('layer')) - 1}.layers.{place[1]}"
    if place[2:] == ["downsample"]:
        return f"{block}.shortcut.{'convolution' if layer == '0' else 'normalization'}.{tensor}"
    kind = "convolution" if layer.startswith("conv") else "normalization"
    return f"{block}.layer.{int(layer[-1]) - 1}.{kind}.{tensor}"
