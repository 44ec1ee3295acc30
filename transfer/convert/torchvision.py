"""torchvision: a state dict with the names of ``torchvision.models``, without the classifier, and a JSON file.

At width 1 it loads strictly into torchvision's own class once its classifier is ``nn.Identity``. A narrower ResNet has
the same names with fewer channels and loads strictly into the plain module that ``transfer.convert.load`` builds; a
narrower MobileNetV2 is torchvision's ``mobilenet_v2(width_mult=w)``.
"""

from pathlib import Path

import torch
from torch import nn

from pretrain.common.errors import UserError
from pretrain.common.files import replacing, save_tensors
from pretrain.common.shapes import shapes_only
from pretrain.plain.mobilenetv2 import PlainMobileNetV2
from pretrain.plain.resnet import PlainResNet
from transfer.convert.describe import as_json, description
from transfer.convert.fold import check_same


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """``output/resnet18.pth``, which loads with ``torch.load(path, weights_only=True)``, and ``resnet18.json``.

    Errors: UserError for a backbone that is not torchvision's, or that its class would silently compute differently;
    RuntimeError, before anything is written, if torchvision's own class computes other features.
    """
    check_sayable(plain)
    folded, width = metadata.get("folded_bn", False), metadata.get("width") or 1.0
    record = {**description(plain, metadata), "load": how_to_load(plain, width, folded)}
    path, beside = output / f"{plain.name}.pth", output / f"{plain.name}.json"
    if fits_stock(plain, width) and not folded:
        check_same(plain, stock(plain, width))
    with replacing(path) as partial, replacing(beside) as partial_beside:
        save_tensors(plain.state_dict(), partial)
        partial_beside.write_text(as_json(record, indent=2) + "\n")
    return [path, beside]


def check_sayable(plain: nn.Module) -> None:
    """UserError unless torchvision's class of these names computes what ``plain`` does, or refuses to load it."""
    if isinstance(plain, PlainResNet):
        return
    if not isinstance(plain, PlainMobileNetV2):
        raise UserError(f"torchvision's names cannot say {plain.name}; expected a ResNet or mobilenetv2")
    if plain.stem != "imagenet":
        raise UserError(
            f"torchvision's mobilenet_v2 has other strides than a {plain.stem} stem; expected a backbone that was "
            "pretrained with stem = 'imagenet', or safetensors"
        )
    if plain.channels.stem == plain.channels.outer[0]:
        raise UserError(
            f"torchvision's mobilenet_v2 has a shortcut where stem and first block both have {plain.channels.stem} "
            "channels, which this backbone has not; expected a width from 0.28, or safetensors"
        )


def constructor(plain: nn.Module, width: float) -> tuple[str, dict, str]:
    """torchvision's name, arguments and classifier of the class that is nearest to ``plain``."""
    if isinstance(plain, PlainMobileNetV2):
        return "mobilenet_v2", {"width_mult": float(width)}, "classifier"
    return plain.name, {}, "fc"


def empty_stock(plain: nn.Module, width: float) -> nn.Module:
    """torchvision's own class with random weights and no classifier."""
    import torchvision

    name, arguments, classifier = constructor(plain, width)
    model = getattr(torchvision.models, name)(**arguments)
    setattr(model, classifier, nn.Identity())
    return model


def fits_stock(plain: nn.Module, width: float) -> bool:
    """Whether torchvision's own class has these layers: for a ResNet the full width and the ImageNet stem."""
    with shapes_only():
        expected = weight_shapes(empty_stock(plain, width))
    return weight_shapes(plain) == expected


def weight_shapes(module: nn.Module) -> dict[str, torch.Size]:
    """Shapes of the convolutions' and linear layers' weights, which folding leaves as they are."""
    return {name: value.shape for name, value in module.state_dict().items() if value.dim() > 1}


def stock(plain: nn.Module, width: float) -> nn.Module:
    """torchvision's own class with the weights of ``plain``, loaded strictly."""
    model = empty_stock(plain, width)
    model.load_state_dict(plain.state_dict(), strict=True)
    return model


def how_to_load(plain: nn.Module, width: float, folded: bool) -> str:
    """Python that loads the ``.pth``, from the folder that holds it."""
    file = f"{plain.name}.pth"
    if not fits_stock(plain, width):
        return f"from transfer.convert.load import load_plain; model = load_plain('{file}')"
    name, arguments, classifier = constructor(plain, width)
    said = ", ".join(f"{key}={value}" for key, value in arguments.items())
    lines = [f"model = torchvision.models.{name}({said})", f"model.{classifier} = torch.nn.Identity()"]
    if folded:
        lines.append("model = torch.fx.experimental.optimization.fuse(model.eval())")
    lines.append(f"model.load_state_dict(torch.load('{file}', weights_only=True))")
    imports = "import torch, torchvision" + (", torch.fx.experimental.optimization" if folded else "")
    return "; ".join([imports, *lines])
