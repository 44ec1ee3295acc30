"""torchvision: a state dict with the names of ``torchvision.models``, without the classifier, and a JSON file.

At width 1 it loads strictly into torchvision's own class once its classifier is ``nn.Identity``; a narrower one has the
same names with fewer channels and loads strictly into the plain module that ``transfer.convert.load`` builds.
"""

from pathlib import Path

import torch
from torch import nn

from pretrain.errors import UserError
from transfer.convert.describe import backbone_name, description, write_json
from transfer.convert.files import replacing
from transfer.convert.fold import check_same

# our name -> torchvision's name and its classifier's
MODELS = {"resnet18": ("resnet18", "fc"), "resnet50": ("resnet50", "fc"), "mobilenetv2": ("mobilenet_v2", "classifier")}


def write(plain: nn.Module, output: Path, metadata: dict) -> list[Path]:
    """``output/resnet18.pth``, which loads with ``torch.load(path, weights_only=True)``, and ``resnet18.json``.

    Errors: UserError for a backbone that torchvision has not, or names otherwise; RuntimeError, before anything is
    written, if torchvision's own class at full width computes other features.
    """
    name = backbone_name(metadata)
    if name not in MODELS:
        raise UserError(f"torchvision has no network of {name}'s names; expected --to timm, safetensors or onnx")
    folded = metadata.get("folded_bn", False)
    record = {**description(plain, metadata), "load": how_to_load(plain, name, folded)}
    path, beside = output / f"{name}.pth", output / f"{name}.json"
    if fits_stock(plain, name) and not folded:
        check_same(plain, stock(plain, name))
    with replacing(path) as partial, replacing(beside) as partial_beside:
        torch.save(plain.state_dict(), partial)
        write_json(record, partial_beside)
    return [path, beside]


def empty_stock(name: str) -> nn.Module:
    """torchvision's own class with random weights and no classifier."""
    import torchvision

    model_name, classifier = MODELS[name]
    model = getattr(torchvision.models, model_name)()
    setattr(model, classifier, nn.Identity())
    return model


def fits_stock(plain: nn.Module, name: str) -> bool:
    """Whether torchvision's own class has these layers: full width and the ImageNet stem."""
    with torch.device("meta"):
        expected = weight_shapes(empty_stock(name))
    return weight_shapes(plain) == expected


def weight_shapes(module: nn.Module) -> dict[str, torch.Size]:
    """Shapes of the convolutions' and linear layers' weights, which folding leaves as they are."""
    return {name: value.shape for name, value in module.state_dict().items() if value.dim() > 1}


def stock(plain: nn.Module, name: str) -> nn.Module:
    """torchvision's own class with the weights of ``plain``, loaded strictly."""
    model = empty_stock(name)
    model.load_state_dict(plain.state_dict(), strict=True)
    return model


def how_to_load(plain: nn.Module, name: str, folded: bool) -> str:
    """Python that loads ``NAME.pth``, from the folder that holds it."""
    if not fits_stock(plain, name):
        return f"from transfer.convert.load import load_plain; model = load_plain('{name}.pth')"
    model_name, classifier = MODELS[name]
    lines = [f"model = torchvision.models.{model_name}()", f"model.{classifier} = torch.nn.Identity()"]
    if folded:
        lines.append("model = torch.fx.experimental.optimization.fuse(model.eval())")
    lines.append(f"model.load_state_dict(torch.load('{name}.pth', weights_only=True))")
    imports = "import torch, torchvision" + (", torch.fx.experimental.optimization" if folded else "")
    return "; ".join([imports, *lines])
