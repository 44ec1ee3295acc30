"""A pretrained slimmable backbone with the statistics of its calibrated widths: compute, calibrate, cut out, save."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from pretrain.backbones import create_backbone
from pretrain.common.errors import UncalibratedWidthError, UserError
from pretrain.common.shapes import shapes_only
from pretrain.plain.cost import Cost, cost
from pretrain.plain.stages import StageMaps
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.calibrate import LayerMoments, all_norms, calibrate
from pretrain.slimmable.extract import extract
from pretrain.slimmable.heads import Head
from pretrain.slimmable.norms.statistics import FixedStatistics
from pretrain.slimmable.plans import calibrated, read_plan
from pretrain.slimmable.widths import Plan, check_width
from pretrain.universal.file import Contents, network_state, read_universal_file, weights_hash, write_universal_file
from pretrain.universal.fingerprint import fingerprint
from pretrain.universal.hub import fetched, is_hub
from pretrain.universal.images import ImageBatches, check_images, check_range, width_list


class UniversalNetwork(nn.Module):
    """A pretrained slimmable backbone with the statistics of its calibrated widths.

    metadata: what the file records (method, backbone, data, epochs, mean, std, channel_order, width_range, seed …);
    ``mean`` and ``std`` normalise RGB images scaled to [0, 1]. A backbone without batch norms (a vision transformer)
    needs no statistics: every width of the range can be used.

    Statistics belong to the weights that they were estimated with: after those have changed, every use is an
    UncalibratedWidthError. ``forward`` sees changes that torch counts and most of others (``fingerprint``), ``extract``
    and ``save`` see all. Another number format (``half()``, ``bfloat16()``) is no change.

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
        self._norms = all_norms(backbone, projector)
        self._calibrated: tuple[str, tuple] | None = None  # hash and fingerprint of the statistics' weights
        if self.statistics:
            self._mark_fresh()

    @property
    def width_range(self) -> tuple[float, float]:
        low, high = self.metadata["width_range"]
        return low, high

    @property
    def needs_calibration(self) -> bool:
        """Whether there are batch norms, in the backbone or in a projector that was kept."""
        return bool(self._norms)

    @property
    def calibrated_widths(self) -> list[float]:
        """Widths with statistics, widest first; a width that rounds to the same channels needs none of its own.

        Without batch norms: one width for each distinct sub-network of the range.
        """
        if not self.needs_calibration:
            return self.backbone.width_space(*self.width_range).short_names()[::-1]
        return sorted(self.metadata["calibration"]["widths"], reverse=True)

    @property
    def calibrated_plans(self) -> list[Plan]:
        """Plans by stage with statistics, in the order of their calibration."""
        return [width for width in calibrated(self.backbone, self.metadata) if isinstance(width, Plan)]

    def width(self, given: float | str) -> float:
        """``given``, or the plan by stage that it names, by itself or as a file's content; either stands for a width.

        Errors: UserError for a width outside the range, and for what is no plan of this backbone.
        """
        low, high = self.width_range
        return read_plan(self.backbone, given, low, high) if isinstance(given, str) else check_width(given, low, high)

    @property
    def hash(self) -> str:
        """SHA-256 of the weights."""
        return weights_hash(network_state(self.backbone, self.projector))

    def is_calibrated(self, width: float) -> bool:
        """Whether ``width`` can be used as it is. Errors: UserError for a width outside the range."""
        key = self.backbone.channels(check_width(width, *self.width_range)).key
        return not self.needs_calibration or key in self.statistics

    def moments(self, width: float) -> LayerMoments:
        """Statistics of ``width``, none without batch norms.

        Errors: UncalibratedWidthError that names the widths that have some, or if the weights have changed since.
        """
        if not self.is_calibrated(width):
            known = ", ".join(f"{w:g}" for w in [*self.calibrated_widths, *self.calibrated_plans]) or "none"
            raise UncalibratedWidthError(f"width {width:g} is not calibrated; calibrated widths: {known}")
        self._check_fresh()
        return self.statistics[self.backbone.channels(width).key] if self.needs_calibration else {}

    @torch.no_grad()
    def forward(self, images: Tensor, width: float) -> Tensor:
        """Normalised images [B, 3, H, W] -> pooled features [B, c(width)]."""
        check_images(images, self._weights[0], self.backbone.input_channels)
        return self.backbone(images, width, self._fixed(width))

    @torch.no_grad()
    def project(self, images: Tensor, width: float | None = None) -> Tensor:
        """Normalised images [B, 3, H, W] -> the projector's [B, D]; by default at the largest width.

        Errors: UserError where the checkpoint holds no projector.
        """
        if self.projector is None:
            raise UserError("this universal checkpoint holds no projector; training.keep_projector keeps it")
        check_images(images, self._weights[0], self.backbone.input_channels)
        fixed = self._fixed(width := self.width_range[1] if width is None else width)
        return self.projector(self.backbone(images, width, fixed), fixed)

    @property
    def _weights(self) -> list[Tensor]:
        return list(self.parameters())

    def _fixed(self, width: float) -> FixedStatistics:
        """The statistics of ``width``, which stay on the device where they were used first."""
        moments, like = self.moments(width), self._weights[0]
        for name, pair in moments.items():
            if pair[0].device != like.device:
                moments[name] = tuple(t.to(like.device) for t in pair)
        if like.dtype == torch.float16:
            check_range(moments)
        return FixedStatistics(
            {self._norms[name]: tuple(t.to(like.dtype) for t in pair) for name, pair in moments.items()}
        )

    def calibrate(
        self, loader: Iterable, widths: float | Iterable[float], *, data: str | None = None, on: str = "other",
        **settings: object,
    ) -> None:  # fmt: skip
        """Estimate the statistics of ``widths`` from one pass over ``loader``, replacing those that they had.

        loader: normalised images [B, 3, H, W] in the network's number format, or tuples that begin with them, as a
        DataLoader of (image, label) gives. data: the name of the images' data set. on: whose images they are,
        ``pretraining``, ``target`` or ``other``. The metadata record both for each width, and the batch size, the
        number of batches and ``settings``; see ``calibration_of``. Without batch norms nothing is read.
        Errors: UserError for widths outside the range and for batches that are no such images;
        UncalibratedWidthError if statistics of other weights are left.
        """
        widths = width_list(widths, *self.width_range)
        if not self.needs_calibration:
            return
        self._check_fresh(every=True)
        batches = ImageBatches(loader, self._weights[0], self.backbone.input_channels)
        found = calibrate(self.backbone, batches, widths, self.projector)
        self._mark_fresh()
        counted = {"batch_size": batches.sizes[0], "batches": len(batches.sizes)}
        self._record_calibration(widths, {"on": on, "data": data, **counted, **settings})
        self.statistics.update({k: {n: (m.cpu(), v.cpu()) for n, (m, v) in s.items()} for k, s in found.items()})

    def _record_calibration(self, widths: list[float], settings: dict) -> None:
        """Note ``settings`` for ``widths``, keep those of others; the first calibration's stand at the top as well."""
        record = {key: value for key, value in self.metadata["calibration"].items() if key != "plans"}
        before = calibrated(self.backbone, self.metadata)
        keys = {w: self.backbone.channels(w).key for w in {*before, *widths}}
        known = [w for w in before if keys[w] in self.statistics]
        replaced = {keys[w] for w in widths}
        by_width = {f"{w:g}": settings if keys[w] in replaced else self.calibration_of(w) for w in {*known, *widths}}
        every = dict.fromkeys([*known, *widths])
        plans = [w.name for w in every if isinstance(w, Plan)]
        self.metadata["calibration"] = {
            **record, **({} if "batch_size" in record else settings), **({"plans": plans} if plans else {}),
            "by_width": by_width,
            "widths": sorted((w for w in every if not isinstance(w, Plan)), reverse=True),
        }  # fmt: skip

    def calibration_of(self, width: float) -> dict:
        """What the statistics of ``width`` were estimated on: ``on`` and ``data`` (see ``calibrate``), batch_size, …

        Files that record one calibration for all widths say that one. Nothing for a network without batch norms.
        Errors: as ``moments``.
        """
        self.moments(width)
        if not self.needs_calibration:
            return {}
        record, key = self.metadata["calibration"], self.backbone.channels(width).key
        same = next(w for w in calibrated(self.backbone, self.metadata) if self.backbone.channels(w).key == key)
        common = {name: record[name] for name in ("batch_size", "batches") if name in record}
        pretraining = self.metadata["data"]["name"]
        found = record.get("by_width", {}).get(f"{same:g}", {"data": pretraining, **common})
        return {"on": "pretraining" if found.get("data") == pretraining else "other", "data": None, **found}

    def extract(
        self, width: float, num_classes: int = 0, features_only: bool = False, share: bool = False
    ) -> nn.Module:
        """A plain module of this width, in eval mode, with torchvision's (timm's) names: [B, 3, H, W] -> [B, c(width)].

        num_classes: -> [B, num_classes] by a fresh linear classifier. features_only: -> the list of stage maps
        (``StageMaps``, whose ``feature_info`` tells channels and reductions), as timm's option of that name. share: its
        weights are views of this network's, to be read only.
        """
        moments = self.moments(width)
        self._check_fresh(every=True)
        if num_classes and features_only:
            raise UserError("features_only gives maps, num_classes a classifier on top of them; expected one of both")
        channels, dtype = self.backbone.channels(width), self._weights[0].dtype
        if dtype == torch.float16:
            check_range(moments)
        plain = extract(self.backbone, channels, moments, share).to(dtype)
        if features_only:
            return StageMaps(plain).eval()
        if num_classes:
            classifying = self.backbone.plain(channels, num_classes).to(dtype)
            classifying.load_state_dict(plain.state_dict(), strict=False)  # all but the classifier
            return classifying.eval()
        return plain

    def cost(self, width: float, image_size: int | tuple[int, int] = 224, num_classes: int = 0) -> Cost:
        """Parameters and multiply-accumulates of the plain backbone; with ``num_classes`` its classifier's too.

        image_size: the side of a square in pixels, or (height, width).
        """
        return backbone_cost(self.backbone, check_width(width, *self.width_range), image_size, num_classes)

    def reinitialised(self, seed: int) -> "UniversalNetwork":
        """The same architecture with random weights and nothing calibrated: the comparison row of every table."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone = create_backbone(**self.metadata["backbone"])
        left = ("by_width", "plans")
        record = {key: value for key, value in self.metadata["calibration"].items() if key not in left}
        calibration = {**record, "widths": []}
        return UniversalNetwork(backbone, {**self.metadata, "method": "random", "calibration": calibration})

    def _mark_fresh(self) -> None:
        self._calibrated = self.hash, fingerprint(self._weights)

    def _check_fresh(self, every: bool = False) -> None:
        """UncalibratedWidthError if the weights have changed since the statistics were estimated.

        every: look at every weight, else only where the fingerprint differs.
        """
        if not self._is_fresh(every):
            raise UncalibratedWidthError(
                "the weights have changed since calibration; clear ``statistics`` and calibrate"
            )

    def _is_fresh(self, every: bool = False) -> bool:
        if not self.statistics or (not every and fingerprint(self._weights) == self._calibrated[1]):
            return True
        if self.hash != self._calibrated[0]:
            return False
        self._mark_fresh()
        return True

    def _apply(self, function, recurse: bool = True) -> "UniversalNetwork":
        """What ``to``, ``half`` and others call: elsewhere or in another format the weights are the same ones."""
        before = self._weights[0].dtype if self._is_fresh() else None
        super()._apply(function, recurse)
        if self.statistics and before is not None:
            self._mark_fresh()
        return self

    def save(self, path: str | Path) -> Path:
        """Write the checkpoint atomically; the same network gives the same bytes.

        Errors: UncalibratedWidthError if the weights have changed since calibration, or statistics that the metadata
        name were taken away; UserError where ``path`` cannot be written, or metadata that could not be read again.
        """
        self._check_fresh(every=True)
        named = calibrated(self.backbone, self.metadata) if self.needs_calibration else []
        gone = [f"{width:g}" for width in named if self.backbone.channels(width).key not in self.statistics]
        if gone:
            raise UncalibratedWidthError(f"the statistics of width {', '.join(gone)} are not there; calibrate first")
        write_universal_file(Path(path), Contents(self.backbone, self.projector, self.metadata, self.statistics))
        return Path(path)


def backbone_cost(
    backbone: SlimBackbone, width: float, image_size: int | tuple[int, int] = 224, num_classes: int = 0
) -> Cost:
    """Cost of the plain network of ``width``; with ``num_classes`` a linear classifier is added."""
    with shapes_only():
        plain = backbone.plain(backbone.channels(width), num_classes)
    return cost(plain, image_size)


def from_pretrained(path: str | Path, width: float, **options) -> nn.Module:
    """The plain network of one width, straight from a universal checkpoint. path: as of ``load_universal``. options:
    of ``UniversalNetwork.extract``.

    Example::

        backbone = from_pretrained("hf://owner/name", width=0.5)
    """
    return load_universal(path).extract(width, **options)


def load_universal(path: str | Path) -> UniversalNetwork:
    """Read a universal checkpoint: its file, or the run folder that holds it.

    path: or ``hf://owner/name`` of a folder on Hugging Face's hub, fetched by ``huggingface_hub`` unless it was before.
    Errors: UserError, of one line, if the file is missing, is no universal checkpoint, is damaged, has a newer format,
    or if its weights are not those that its statistics were calibrated for.
    """
    if not isinstance(path, str | Path):
        raise UserError(f"load_universal takes the path of a file or of a run folder, got {type(path).__name__}")
    contents = read_universal_file(fetched(path) if is_hub(path) else Path(path))
    return UniversalNetwork(contents.backbone, contents.metadata, contents.statistics, contents.projector)
