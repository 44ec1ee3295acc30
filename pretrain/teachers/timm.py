"""Teachers by the names of timm's models, with timm's published weights or those of a file."""

import difflib
import urllib.error
import urllib.request
from contextlib import suppress
from types import ModuleType

from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.data.facts import ImageFacts
from pretrain.teachers.file import load_file
from pretrain.teachers.settings import TeacherSettings
from pretrain.teachers.teacher import Loaded

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
PATIENCE = 10  # seconds for the first answer of a download


def timm_teacher(model: str, settings: TeacherSettings, images: ImageFacts) -> Loaded:
    """timm's ``model`` without its classifier.

    Errors: UserError for a name that timm does not know, weights that are not there, do not fit or cannot be fetched.
    """
    timm = _timm()
    config = _config(timm, model)
    if settings.weights is not None:
        network = timm.create_model(model, num_classes=0)
        classifier = config.classifier or ()
        heads = (classifier,) if isinstance(classifier, str) else classifier
        source = load_file(network, settings, tuple(head.split(".")[0] for head in heads))
        licence = f"not stated by the file; timm says {config.license or 'none'} of its own {model}"
    else:
        network, source, licence = _published(timm, model, config), _address(config), config.license
    if settings.output == "tokens":
        network = Tokens(network)
    return Loaded(network, f"timm:{model}", source, licence, config.mean, config.std, config.input_size[-1])


class Tokens(nn.Module):
    """What timm's models compute before they pool: maps [B, D, h, w], or the tokens [B, N, D] of patches alone."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        found = self.network.forward_features(x)
        if found.dim() == 3:
            return found[:, self.network.num_prefix_tokens :]
        return found.permute(0, 3, 1, 2) if getattr(self.network, "output_fmt", "NCHW") == "NHWC" else found


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise UserError("a teacher of timm needs timm; install it with: pip install timm") from None
    return timm


def _config(timm: ModuleType, model: str):
    """What timm says of its weights. UserError, with the nearest, for a model or weights that it does not know."""
    name, _, tag = model.partition(".")
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() names all"
        raise UserError(f"timm has no model '{name}'; {hint}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{name}.*")]
    if tag and tag not in tags:
        raise UserError(f"timm has no weights '{tag}' of {name}; valid: {', '.join(tags) or 'none'}")
    return timm.get_pretrained_cfg(model)


def _published(timm: ModuleType, model: str, config):
    """The model with its published weights, from timm's cache or by a download."""
    if not (config.hf_hub_id or config.url):
        raise UserError(f"timm has no published weights of {model}; expected objective.teacher.weights=FILE")
    address = _address(config)
    try:
        if not _is_cached(config):
            _check_reachable(address)
        return timm.create_model(model, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:  # also what urllib and the hub's client raise
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"cannot download the weights of timm:{model} from {address} ({reason}); "
            "expected a network, or that file as objective.teacher.weights=FILE"
        ) from None


def _address(config) -> str:
    if config.hf_hub_id:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(config.hf_hub_id, config.hf_hub_filename or HUB_FILES[0])
    return config.url


def _is_cached(config) -> bool:
    """Whether the hub's client has the file already."""
    from huggingface_hub import try_to_load_from_cache

    names = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
    return bool(config.hf_hub_id) and any(isinstance(try_to_load_from_cache(config.hf_hub_id, n), str) for n in names)


def _check_reachable(address: str) -> None:
    """An OSError at once where there is no network: the hub's client tries for a minute."""
    with suppress(urllib.error.HTTPError):  # it answers: what it refuses is the client's to say
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=PATIENCE).close()
