"""The universal checkpoint: one file from which a plain backbone of any calibrated width is cut out.

A safetensors file, so that loading one from a stranger runs no code:

    backbone.<parameter>                               weights at full width, torchvision's or timm's names
    projector.<parameter>                              only if it was kept, for a student to distil from
    statistics.<channel key>/<batch norm>.mean|.var    calibrated statistics of a width
    metadata["us3l"]                                   sorted JSON, see ``FORMAT``

Everything sits under one metadata key because several are written in an order that changes from run to run.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pretrain.backbones import create_backbone
from pretrain.common.errors import UncalibratedWidthError, UserError
from pretrain.common.files import replacing
from pretrain.plain.cost import Cost, cost
from pretrain.plain.stages import StageMaps
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.calibrate import LayerMoments, all_norms, calibrate
from pretrain.slimmable.extract import extract
from pretrain.slimmable.heads import Head
from pretrain.slimmable.statistics import FixedStatistics
from pretrain.slimmable.widths import check_width

FORMAT = 1
KEY = "us3l"


class UniversalNetwork(nn.Module):
    """A pretrained slimmable backbone with the statistics of its calibrated widths.

    metadata: what the file records (method, backbone, data, epochs, mean, std, channel_order, width_range, seed …);
    ``mean`` and ``std`` normalise RGB images scaled to [0, 1]. A backbone without batch norms (a vision transformer)
    needs no statistics: every width of the range can be used.

    Example::

        net = load_universal("runs/demo/pretrain/universal.safetensors")
        features = net(images, width=0.5)      # [B, 3, H, W] -> [B, c(0.5)]
        plain = net.extract(0.5)               # an ordinary ResNet
    """

    def __init__(
        self,
        backbone: SlimBackbone,
        metadata: dict,
        statistics: dict[str, LayerMoments] | None = None,
        projector: Head | None = None,
    ):
        super().__init__()
        self.backbone, self.metadata, self.projector = backbone.eval(), metadata, projector
        self.statistics = statistics or {}
        self.calibrated_hash = self.hash if self.statistics else None

    @property
    def width_range(self) -> tuple[float, float]:
        low, high = self.metadata["width_range"]
        return low, high

    @property
    def needs_calibration(self) -> bool:
        """Whether there are batch norms, in the backbone or in a projector that was kept."""
        return bool(all_norms(self.backbone, self.projector))

    @property
    def calibrated_widths(self) -> list[float]:
        """Widths with statistics, widest first; a width that rounds to the same channels needs none of its own.

        Without batch norms: one width for each distinct sub-network of the range.
        """
        if not self.needs_calibration:
            return self.backbone.width_space(*self.width_range).short_names()[::-1]
        return sorted(self.metadata["calibration"]["widths"], reverse=True)

    @property
    def hash(self) -> str:
        """SHA-256 of the weights."""
        return weights_hash(network_state(self.backbone, self.projector))

    def moments(self, width: float) -> LayerMoments:
        """Statistics of ``width``, none without batch norms; UncalibratedWidthError names the widths that have them."""
        key = self.backbone.channels(check_width(width, *self.width_range)).key
        if not self.needs_calibration:
            return {}
        if key not in self.statistics:
            known = ", ".join(f"{w:g}" for w in self.calibrated_widths) or "none"
            raise UncalibratedWidthError(f"width {width:g} is not calibrated; calibrated widths: {known}")
        return self.statistics[key]

    @torch.no_grad()
    def forward(self, images: Tensor, width: float) -> Tensor:
        """Normalised images [B, 3, H, W] -> pooled features [B, c(width)]."""
        return self.backbone(images, width, self._fixed(width, images.device))

    @torch.no_grad()
    def project(self, images: Tensor, width: float | None = None) -> Tensor:
        """Normalised images [B, 3, H, W] -> the projector's [B, D]; by default at the largest width.

        Errors: UserError where the checkpoint holds no projector.
        """
        if self.projector is None:
            raise UserError("this universal checkpoint holds no projector; training.keep_projector keeps it")
        fixed = self._fixed(width := width or self.width_range[1], images.device)
        return self.projector(self.backbone(images, width, fixed), fixed)

    def _fixed(self, width: float, device: torch.device) -> FixedStatistics:
        """The statistics of ``width``, which stay on the device where they were used first."""
        moments, norms = self.moments(width), all_norms(self.backbone, self.projector)
        dtype = next(self.backbone.parameters()).dtype
        for name, pair in moments.items():
            if pair[0].device != device:
                moments[name] = tuple(t.to(device) for t in pair)
        return FixedStatistics({norms[name]: tuple(t.to(dtype) for t in pair) for name, pair in moments.items()})

    def calibrate(self, loader: Iterable[Tensor], widths: list[float], **settings) -> None:
        """Estimate the statistics of ``widths`` from one pass over ``loader`` (normalised images [B, 3, H, W]).

        Replaces statistics that these widths had. The metadata records the batch size, the number of batches and
        ``settings`` (``data``: the name of the images' data set) of each width; see ``calibration_of``.
        Without batch norms nothing is read.
        """
        for width in widths:
            check_width(width, *self.width_range)
        if not self.needs_calibration:
            return
        device = next(self.backbone.parameters()).device
        sizes: list[int] = []

        def batches() -> Iterator[Tensor]:
            for images in loader:
                sizes.append(len(images))
                yield images.to(device)

        found = calibrate(self.backbone, batches(), widths, self.projector)
        self._check_fresh()
        self.calibrated_hash = self.hash
        self._record_calibration(widths, {"batch_size": sizes[0], "batches": len(sizes), **settings})
        self.statistics.update({k: {n: (m.cpu(), v.cpu()) for n, (m, v) in s.items()} for k, s in found.items()})

    def _record_calibration(self, widths: list[float], settings: dict) -> None:
        """Note ``settings`` for ``widths``, keep those of others; the first calibration's stand at the top as well."""
        record = self.metadata["calibration"]
        keys = {w: self.backbone.channels(w).key for w in {*record["widths"], *widths}}
        known = [w for w in record["widths"] if keys[w] in self.statistics]
        replaced = {keys[w] for w in widths}
        by_width = {f"{w:g}": settings if keys[w] in replaced else self.calibration_of(w) for w in {*known, *widths}}
        self.metadata["calibration"] = {
            **record, **({} if known else settings), "widths": sorted({*known, *widths}, reverse=True),
            "by_width": by_width,
        }  # fmt: skip

    def calibration_of(self, width: float) -> dict:
        """What the statistics of ``width`` were estimated on: ``data`` (a data set's name), batch_size, batches, …

        Files that record one calibration for all widths say that one. Nothing for a network without batch norms.
        Errors: as ``moments``.
        """
        self.moments(width)
        if not self.needs_calibration:
            return {}
        record, key = self.metadata["calibration"], self.backbone.channels(width).key
        same = next(w for w in record["widths"] if self.backbone.channels(w).key == key)
        common = {name: record[name] for name in ("batch_size", "batches") if name in record}
        return record.get("by_width", {}).get(f"{same:g}", {"data": self.metadata["data"]["name"], **common})

    def extract(self, width: float, num_classes: int = 0, features_only: bool = False) -> nn.Module:
        """A plain module of this width, in eval mode, with torchvision's (timm's) names: [B, 3, H, W] -> [B, c(width)].

        num_classes: -> [B, num_classes] by a fresh linear classifier. features_only: -> the list of stage maps
        (``StageMaps``, whose ``feature_info`` tells channels and reductions), as timm's option of that name.
        """
        moments = self.moments(width)
        self._check_fresh()
        if num_classes and features_only:
            raise UserError("features_only gives maps, num_classes a classifier on top of them; expected one of both")
        channels = self.backbone.channels(width)
        plain = extract(self.backbone, channels, moments)
        if features_only:
            return StageMaps(plain).eval()
        if num_classes:
            classifying = self.backbone.plain(channels, num_classes)
            classifying.load_state_dict(plain.state_dict(), strict=False)  # all but the classifier
            return classifying.eval()
        return plain

    def cost(self, width: float, image_size: int = 224, num_classes: int = 0) -> Cost:
        """Parameters and multiply-accumulates of the plain backbone; with ``num_classes`` its classifier's too."""
        return backbone_cost(self.backbone, check_width(width, *self.width_range), image_size, num_classes)

    def reinitialised(self, seed: int) -> "UniversalNetwork":
        """The same architecture with random weights and nothing calibrated: the comparison row of every table."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone = create_backbone(**self.metadata["backbone"])
        record = {key: value for key, value in self.metadata["calibration"].items() if key != "by_width"}
        calibration = {**record, "widths": []}
        return UniversalNetwork(backbone, {**self.metadata, "method": "random", "calibration": calibration})

    def _check_fresh(self) -> None:
        """UncalibratedWidthError if the weights have changed since the statistics were estimated."""
        if self.statistics and self.hash != self.calibrated_hash:
            raise UncalibratedWidthError(
                "the weights have changed since calibration; clear ``statistics`` and calibrate"
            )

    def save(self, path: str | Path) -> Path:
        """Write the checkpoint atomically; the same network gives the same bytes.

        Errors: UncalibratedWidthError if the weights have changed since calibration.
        """
        self._check_fresh()
        state = network_state(self.backbone, self.projector)
        tensors = {name: t.detach().cpu().contiguous() for name, t in state.items()}
        for key, layers in self.statistics.items():
            for name, (mean, variance) in layers.items():
                tensors[f"statistics.{key}/{name}.mean"] = mean.cpu().contiguous()
                tensors[f"statistics.{key}/{name}.var"] = variance.cpu().contiguous()
        header = {**self.metadata, "format": FORMAT, "weights_sha256": self.hash}
        if self.projector is not None:
            header["projector"] = self.projector.arguments
        with replacing(path) as partial:
            save_file(tensors, partial, {KEY: json.dumps(header, sort_keys=True)})
        return Path(path)


def backbone_cost(backbone: SlimBackbone, width: float, image_size: int = 224, num_classes: int = 0) -> Cost:
    """Cost of the plain network of ``width``; with ``num_classes`` a linear classifier is added."""
    with torch.device("meta"):
        plain = backbone.plain(backbone.channels(width), num_classes)
    return cost(plain, image_size)


def network_state(backbone: nn.Module, projector: nn.Module | None) -> dict[str, Tensor]:
    """``backbone.…`` and, if there is one, ``projector.…`` as they are named in the file."""
    state = {f"backbone.{name}": t for name, t in backbone.state_dict().items()}
    if projector is not None:
        state |= {f"projector.{name}": t for name, t in projector.state_dict().items()}
    return state


def weights_hash(state: dict[str, Tensor]) -> str:
    """SHA-256 over names (the backbone's without their prefix), shapes and bytes of a state dict, in sorted order."""
    digest = hashlib.sha256()
    for name, value in sorted(((n.removeprefix("backbone."), t) for n, t in state.items()), key=itemgetter(0)):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def load_universal(path: str | Path) -> UniversalNetwork:
    """Read a universal checkpoint.

    Errors: UserError if the file is missing, is no universal checkpoint, is damaged, or if its weights are not those
    that its statistics were calibrated for.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no such file: {path}; expected a universal checkpoint (universal.safetensors)")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(KEY)
        tensors = load_file(path) if header else {}
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path} is no universal checkpoint: {error}") from None
    if not header:
        raise UserError(f"{path} is no universal checkpoint: a safetensors file without the key '{KEY}'")
    metadata = json.loads(header)
    version, expected = metadata.pop("format", None), metadata.pop("weights_sha256", None)
    if version != FORMAT:
        raise UserError(f"{path} is no universal checkpoint of format {FORMAT}: its format is {version}")
    state = {name: t for name, t in tensors.items() if name.startswith(("backbone.", "projector."))}
    if weights_hash(state) != expected:
        raise UserError(f"{path}: the weights are not those that the statistics were calibrated for; calibrate anew")
    backbone, heads = create_backbone(**metadata["backbone"]), metadata.pop("projector", None)
    projector = Head(**heads) if heads else None
    nn.ModuleDict({"backbone": backbone} | ({"projector": projector} if heads else {})).load_state_dict(state)
    return UniversalNetwork(backbone, metadata, _statistics(tensors), projector)


def _statistics(tensors: dict[str, Tensor]) -> dict[str, LayerMoments]:
    """``statistics.<key>/<layer>.mean|.var`` back to key -> layer -> (mean, variance)."""
    found: dict[str, LayerMoments] = {}
    for name, mean in tensors.items():
        if name.startswith("statistics.") and name.endswith(".mean"):
            key, layer = name.removeprefix("statistics.").removesuffix(".mean").split("/")
            found.setdefault(key, {})[layer] = (mean, tensors[f"{name.removesuffix('.mean')}.var"])
    return found
