"""Teachers by the names of torchvision's classification models, with its published weights or those of a file."""

import torchvision
from torch import nn

from pretrain.common.errors import UserError, nearest
from pretrain.data.facts import ImageFacts
from pretrain.teachers.file import load_file
from pretrain.teachers.settings import TeacherSettings
from pretrain.teachers.teacher import Loaded


def torchvision_teacher(model: str, settings: TeacherSettings, images: ImageFacts) -> Loaded:
    """torchvision's ``model`` without its last linear layer.

    Errors: UserError for a name that torchvision does not know, and for weights that do not fit or cannot be fetched.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        raise UserError(f"torchvision has no model '{model}'{nearest(model, known)}")
    weights = torchvision.models.get_model_weights(model).DEFAULT
    network = torchvision.models.get_model(model, weights=None)
    linears = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise UserError(f"torchvision's {model} has no linear classifier to cut off; expected another model")
    if settings.output == "tokens":
        raise UserError(f"torchvision's {model} gives no tokens here; expected objective.teacher.name=timm:MODEL")
    if settings.weights is None:
        network.load_state_dict(_published(model, weights))
    network.set_submodule(linears[-1], nn.Identity())
    source = weights.url if settings.weights is None else load_file(network, settings, (linears[-1].split(".")[0],))
    own = weights.transforms()
    return Loaded(
        network, f"torchvision:{model}", source, None, tuple(own.mean), tuple(own.std), own.crop_size[0]
    )  # fmt: skip


def _published(model: str, weights) -> dict:
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"cannot download the weights of torchvision:{model} from {weights.url} ({reason}); "
            "expected a network, or that file as objective.teacher.weights=FILE"
        ) from None
