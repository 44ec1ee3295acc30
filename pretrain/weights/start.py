"""Start from somebody's weights instead of random ones: ``backbone.weights=FILE``.

What the file does not have of the backbone (the stem of a network for larger images, say) is drawn as without it. The
narrow networks use the first channels of every layer, so ``backbone.sort`` puts those first that matter most, which
changes nothing at width 1 (``pretrain/slimmable/importance.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.common.files import file_hash
from pretrain.common.randomness import torch_seed
from pretrain.data.calibration import CalibrationBatches
from pretrain.sections import LINEAR_EVALUATION, BackboneSettings
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.importance import sort_channels
from pretrain.slimmable.ops import SlimBatchNorm
from pretrain.weights.fit import Fit, fit
from pretrain.weights.read import read_tensors

RUNNING = ("running_mean", "running_var", "num_batches_tracked")  # of batch norms, which here keep none
IMAGES, BATCH = 256, 64  # that channels' magnitudes are measured on


def identified(settings: BackboneSettings, recorded: dict | None = None) -> BackboneSettings:
    """The settings with the SHA-256 of the file that it starts from. recorded: the backbone's config of a run that is
    continued, which needs the file no more.

    Errors: UserError for a file that is missing or has another content than ``weights_sha256``.
    """
    if settings.weights is None:
        return settings
    file, digest = Path(settings.weights), (recorded or {}).get("weights_sha256")
    if file.is_file():
        digest = file_hash(file)
    elif digest is None:
        raise UserError(f"no such file: {file}; expected backbone.weights=FILE, .pth or .safetensors")
    if settings.weights_sha256 not in (None, digest):
        raise UserError(
            f"{file} has the SHA-256 {digest}; expected {settings.weights_sha256} (backbone.weights_sha256)"
        )
    return replace(settings, weights_sha256=digest)


@dataclass(frozen=True)
class Start:
    """A backbone with a file's weights, its channels as the file has them, and how much of it they are.

    private: the parameters that the file has for norms of single widths, by their names. record: what the file says of
    its own pretraining, as a universal checkpoint does.
    """

    backbone: SlimBackbone
    fit: Fit
    sort: str | None
    private: dict[str, Tensor]
    record: dict

    def prepared(
        self, images: Dataset, image_size: int, mean: Sequence[float], std: Sequence[float], seed: int,
        on_bad: str = "stop",
    ) -> SlimBackbone:  # fmt: skip
        """The backbone to train: channels sorted, norms of single widths begun as the file's, or, where it has none or
        channels were sorted, as the shared ones; in place.

        images: for the channels' magnitudes, where they are sorted by them; on_bad: as of ``CutViews``.
        """
        if self.sort not in (None, "none"):
            batches = CalibrationBatches(
                images, LINEAR_EVALUATION, image_size, BATCH, IMAGES // BATCH, seed, mean, std, on_bad=on_bad
            )
            sort_channels(self.backbone, self.sort, batches)
        for norm in self.backbone.modules():
            if isinstance(norm, SlimBatchNorm):
                norm.share()
        if self.sort in (None, "none"):
            self.backbone.load_state_dict(self.private, strict=False)
        return self.backbone


def load_start(settings: BackboneSettings, seed: int) -> Start:
    """The start that ``settings.weights`` gives, on the CPU. seed: draws what the file does not have.

    Errors: UserError, of one line, for a file that cannot be read, does not fit, is of a network that computes
    something else, or has numbers that are not finite.
    """
    file = Path(settings.weights)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed("weights", seed))
        backbone = create_backbone(**settings.arguments)
    tensors, record = read_tensors(file)
    architecture = record.get("backbone")
    backbone.check_origin(file, architecture if isinstance(architecture, dict) else None, settings.arguments)
    shapes = {name: tuple(p.shape) for name, p in backbone.named_parameters()}
    own = {name: shapes.pop(name) for name in [*shapes] if ".private." in name}
    found = fit(
        tensors, shapes, file, settings.weights_prefix, backbone.layouts, "backbone.weights_prefix", RUNNING,
        backbone.adapted,
    )  # fmt: skip
    given = {name: tensors[place] for name in own if (place := found.prefix + name) in tensors}
    private = {name: tensor.float() for name, tensor in given.items() if tuple(tensor.shape) == own[name]}
    found = replace(found, unexpected=tuple(name for name in found.unexpected if name not in private))
    _check_function(file, settings.name, backbone, found)
    bad = [name for name, tensor in (found.state | private).items() if not tensor.isfinite().all()]
    if bad:
        raise UserError(f"{file}: {found.prefix}{bad[0]} holds a number that is not finite")
    backbone.load_state_dict({name: tensor.float() for name, tensor in found.state.items()}, strict=False)
    return Start(backbone, found, settings.sort, private, record)


def _check_function(file: Path, name: str, backbone: SlimBackbone, found: Fit) -> None:
    """UserError for weights of a network that computes more than ``backbone`` does between its first layer and its
    features, and for those without what is not trained here, which would stay as it was drawn."""
    ours = [key.split(".") for key, _ in backbone.named_parameters()]
    blocks = {parts[0] for parts in ours if parts[1:2] and parts[1].isdigit()}  # not a head, of which we have the norm
    modules = {tuple(parts[:-1]) for parts in ours}
    theirs = {name: name.split(".") for name in found.unexpected if ".private." not in name}
    inside = [name for name, parts in theirs.items() if parts[0] in blocks or tuple(parts[:-1]) in modules]
    if inside:
        raise UserError(
            f"{file} is of a network with layers that {name} does not have, {found.prefix}{inside[0]} and "
            f"{len(inside) - 1} more, so it computes something else; expected weights of {name}"
        )
    for key, parameter in backbone.named_parameters():
        if not parameter.requires_grad and key not in found.state:
            has = f"of {list(found.shapes[key][0])}" if key in found.shapes else "missing"
            raise UserError(f"{file}: {key} is {has} and not trained here; expected {list(parameter.shape)}")
