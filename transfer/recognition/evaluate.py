"""Recognition on frozen features, several widths at once: data in, one result.json for each width and task out."""

import dataclasses
from pathlib import Path

from rich.progress import Progress

from pretrain.common.cli import checked_device
from pretrain.common.devices import every
from pretrain.common.errors import UserError
from pretrain.common.feature_cache import FeatureCache
from pretrain.data.augmentation.settings import Augmentation, usual_interpolation
from pretrain.data.calibration import CalibrationBatches
from pretrain.universal import weights_hash
from transfer.recognition.features import FORWARD_BATCH, Extractor, extract_widths
from transfer.recognition.finetune import check_layer_decay
from transfer.recognition.images import Images, train_augmentation
from transfer.recognition.labels import labelled
from transfer.recognition.protocols import PROTOCOL, Evaluation, Outcome
from transfer.recognition.settings import RecognitionSettings
from transfer.recognition.sgd import LinearSettings, check_optimizer, linear_settings
from transfer.recognition.targets import load_splits
from transfer.results import Result, named, result_folder, settings_hash
from transfer.source import Source

OF = {"target": "the target's training images", "pretraining": "pretraining's images", "other": "images given by hand"}


def evaluate(
    source: Source,
    dataset: str,
    root: Path | None,
    widths: list[float],
    output: Path,
    settings: RecognitionSettings | None = None,
    *,
    name: str | None = None,
    calibrate: bool = False,
    cache: Path | None = None,
    device: str | None = None,
    progress: bool = True,
    splits: tuple[Images, Images] | None = None,
) -> list[Result]:
    """Evaluate ``widths`` of ``source``: a result.json for each width and task below OUTPUT (``folder_of``).

    dataset: a recognition target of ``transfer.targets``; root: the folder that holds it (``find_root``). name: the
    data set's name in results; by default the target's, for a folder the folder's. calibrate: estimate the widths'
    batch-norm statistics anew on these training images instead of using pretraining's; random weights always need that.
    It changes ``source.net`` in memory, not its file. cache: a folder that keeps features for the next evaluation.
    splits: the training and test images, where they are loaded already.
    Errors: UncalibratedWidthError for a width without statistics; UserError for data that does not fit.
    """
    settings = settings or RecognitionSettings()
    device = checked_device(device)
    meta = source.net.metadata
    settings = dataclasses.replace(settings, image_size=settings.image_size or meta["data"]["image_size"])
    widths = sorted(set(widths), reverse=True)
    calibrate = calibrate or source.is_random
    linear = linear_settings(dataset, source.backbone, settings.batch, settings.epochs, settings.learning_rate)
    if settings.protocol == "paper":
        check_optimizer(linear)  # what is missing is said before any image is read
    if settings.protocol == "finetune":
        check_layer_decay(source.backbone, settings.layer_decay)
    if not calibrate:
        extract_widths(source, widths, device)  # as is a width that cannot be had
    channels = source.net.backbone.input_channels
    train, test = splits or load_splits(dataset, root, settings.image_size, channels)
    for split, images in () if splits else (("training", train), ("test", test)):
        if said := getattr(images.dataset, "found", ""):
            print(f"{split}: {said}", flush=True)
    augmentation = train_augmentation(dataset, settings.image_size, meta, settings.interpolation)
    interpolation = settings.interpolation or usual_interpolation(settings.image_size)
    settings = dataclasses.replace(settings, interpolation=interpolation)  # said in what is recorded
    name = name or (Path(root).resolve().name if dataset == "folder" else dataset)
    source.net.to(device)
    results = []
    kept = FeatureCache(cache, options="--cache FOLDER, or --no-cache")
    with Progress(disable=not progress) as bar:
        if calibrate:  # looks at images of which not all may be learned from
            train.decode(lambda indices: bar.track(indices, description="images"))
            loader = calibration_images(train, augmentation, settings, meta)
            source.net.calibrate(bar.track(loader, description="calibration"), widths, data=name, on="target")
        print(calibration_line(source, widths), flush=True)
        if settings.labels < 1:
            train = labelled(train, settings.labels, settings.seed)
            print(f"labels: of {len(train)} training images, {100 * settings.labels:g} % of each class", flush=True)
        images = {"images": described(train, test), "identity": identity(train, test)}
        if settings.protocol in ("paper", "finetune"):  # what looks at an image more than once
            train.decode(lambda indices: bar.track(indices, description="images"))
        shared = prepare(source, widths, train, test, augmentation, settings, linear, kept, device, bar)
        for outcome in PROTOCOL[settings.protocol](shared):
            result = make_result(source, dataset, name, outcome, settings, calibrate, images)
            result.write(folder_of(result, output))
            results.append(result)
    if cache:
        print(f"features in {cache}: {kept.read / 1e6:.1f} MB read, {kept.written / 1e6:.1f} MB written", flush=True)
    return results


def prepare(
    source: Source, widths: list[float], train: Images, test: Images, augmentation: Augmentation,
    settings: RecognitionSettings, linear: LinearSettings, cache: FeatureCache, device: str, bar: Progress,
) -> Evaluation:  # fmt: skip
    """The networks of ``widths``, cut out with the statistics that they have now, and what protocols need beside."""
    modules = extract_widths(source, widths, device)
    batch = settings.batch or FORWARD_BATCH
    extractor = Extractor(source, modules, every(device), cache, batch, settings.workers, bar.track)
    mean, std = source.metadata["mean"], source.metadata["std"]
    return Evaluation(modules, extractor, train, test, augmentation, mean, std, settings, linear, device, bar)


def calibration_images(
    train: Images, augmentation: Augmentation, settings: RecognitionSettings, metadata: dict
) -> CalibrationBatches:
    """Training images as calibration after pretraining sees them, as many in a batch and as many batches."""
    recorded = metadata["calibration"]
    size = settings.calibration_batch or recorded.get("batch_size", 128)
    count = settings.calibration_batches or recorded.get("batches", 16)
    return CalibrationBatches(
        train, augmentation, settings.image_size, size, count, settings.seed, metadata["mean"], metadata["std"]
    )


def calibration_line(source: Source, widths: list[float]) -> str:
    """Says whose images the batch-norm statistics are of."""
    if not source.net.needs_calibration:
        return f"batch-norm statistics: none, {source.backbone} has no batch norms"
    records = [source.net.calibration_of(width) for width in widths]
    found = {(OF[c["on"]], c["data"], c.get("batches"), c.get("batch_size")) for c in records}
    told = (f"{of} ({data or 'unnamed'}, {batches} batches of {size})" for of, data, batches, size in found)
    return f"batch-norm statistics: of {', '.join(sorted(told))}"


def described(train: Images, test: Images) -> dict:
    """What the images are, however they are stored: how many, of how many classes, and a digest of the classes' names
    and the numbers of their images."""
    counts = [images.labels.bincount(minlength=len(images.classes)).tolist() for images in (train, test)]
    digest = settings_hash({"classes": list(map(str, train.classes)), "counts": counts})
    return {"train": len(train), "test": len(test), "classes": len(train.classes), "digest": digest}


def identity(train: Images, test: Images) -> dict | None:
    """``Images.identity`` of both splits: a copy that is newer or packed has another. None for a data set of somebody's
    own that does not say what it is."""
    try:
        return {"train": train.identity, "test": test.identity}
    except UserError:
        return None


def normalisation(source: Source) -> dict:
    """The mean and std by which the images are normalised."""
    return {name: list(source.metadata[name]) for name in ("mean", "std")}


def make_result(
    source: Source,
    target: str,
    name: str,
    outcome: Outcome,
    settings: RecognitionSettings,
    calibrate: bool,
    images: dict,
) -> Result:
    """The record of one outcome. details: what decided the figures. images: see ``described`` and ``identity``."""
    task, width, metrics, seconds, details = outcome
    method, plan = named(source.method, width)
    cost = source.net.cost(width, image_size=settings.image_size)
    recorded = settings.recorded() | {"calibrate": calibrate}
    decisive = {
        "dataset": name,
        "task": task,
        "images": images["images"]["digest"],
        **plan,
        **recorded,
        **{k: details[k] for k in ("recipe", "views") if k in details},
    }
    calibration = source.net.calibration_of(width) or None
    return Result(
        task=task, dataset=name, method=method, backbone=source.backbone, width=width, seed=settings.seed,
        metrics=metrics, params=cost.params, macs=cost.macs, checkpoint=source.checkpoint_hash,
        config=settings_hash(decisive), seconds=seconds,
        details={
            "protocol": settings.protocol, "target": target, "settings": recorded, **images,
            "calibration": calibration, "statistics": statistics_hash(source, width),
            "architecture": source.architecture, **normalisation(source),
            "pretraining": source.pretraining, **plan, **details,
        },
    )  # fmt: skip


def statistics_hash(source: Source, width: float) -> str | None:
    """SHA-256 of the batch-norm statistics that were used, which the checkpoint's hash leaves out; None without any."""
    moments = source.net.moments(width)
    named = {f"{name}.{what}": t for name, of in moments.items() for what, t in zip(("mean", "var"), of)}
    return weights_hash(named) if named else None


def folder_of(result: Result, output: Path) -> Path:
    """OUTPUT/<name>/<task>/width_<w>[_random]/seed_<s>-<digest> of what determines the result: its settings, images and
    weights; <task> of linear evaluation is ``linear_<protocol>``. Another seed, checkpoint, setting or data set of the
    same name has another folder; the same evaluation done again has the same."""
    task = f"linear_{result.details['protocol']}" if result.task == "linear" else result.task
    folder = result_folder(output, result.dataset, task, result.width, result.method)
    weights = {name: result.details[name] for name in ("architecture", "calibration", "statistics")}
    images = {"identity": found} if (found := result.details.get("identity")) else {}
    digest = settings_hash({"config": result.config, "checkpoint": result.checkpoint, **weights, **images})
    return folder / f"seed_{result.seed}-{digest[:10]}"
