"""Recognition on frozen features, several widths at once: data in, one result.json for each width and task out."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn

from pretrain.cli import checked_device
from pretrain.data.datasets import image_dataset
from pretrain.data.loader import CalibrationBatches
from pretrain.data.views import Views, normalise
from pretrain.errors import UserError
from pretrain.knn import knn_scores, neighbours
from transfer.recognition.features import extract_features, extract_widths
from transfer.recognition.images import Images, augmented, batches, plain, shuffled, train_views
from transfer.recognition.metrics import accuracies
from transfer.recognition.probe import train_probe
from transfer.recognition.settings import Settings
from transfer.recognition.sgd import train_heads_sgd
from transfer.results import Result, result_folder, settings_hash
from transfer.source import Source

FORWARD_BATCH = 256  # images in one forward pass of the frozen backbones


@dataclasses.dataclass
class Evaluation:
    """What the protocols share: the images, the plain backbones and where they run."""

    modules: dict[float, nn.Module]
    train: Images
    test: Images
    train_views: Views
    mean: list[float]
    std: list[float]
    settings: Settings
    device: str
    bar: Progress

    def features(self, images: Images, description: str) -> tuple[dict[float, Tensor], Tensor]:
        """Features of every width and the labels, images as in the test view."""
        batch = self.settings.batch or FORWARD_BATCH
        loader = batches(plain(images, self.settings.image_size), batch, workers=self.settings.workers)
        total = -(-len(images) // batch)
        loader = self.bar.track(loader, total=total, description=description)
        return extract_features(self.modules, loader, self.mean, self.std, self.device)

    def augmented_batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised training views and labels of an epoch, in a new order."""
        settings = self.settings
        view = augmented(self.train, self.train_views, settings.image_size, settings.seed, epoch)
        order = shuffled(len(self.train), settings.seed, epoch)
        for images, labels in batches(view, settings.sgd.batch, order, settings.workers):
            yield normalise(images.to(self.device), self.mean, self.std), labels.to(self.device)


Outcome = tuple[str, float, dict, float, dict]  # task, width, metrics, seconds, details


def evaluate(
    source: Source,
    dataset: str,
    root: Path | None,
    widths: list[float],
    output: Path,
    settings: Settings | None = None,
    *,
    name: str | None = None,
    calibrate: bool = False,
    device: str | None = None,
    progress: bool = True,
) -> list[Result]:
    """Evaluate ``widths`` of ``source`` and write OUTPUT/<name>/<task>/width_<w>[_random]/result.json for each.

    dataset: ``digits`` (embedded, root None) or ``folder`` (root/{train,test or val}/<class>/images). name: the data
    set's name in results; by default the folder's. calibrate: estimate the widths' batch-norm statistics anew on the
    training images; random weights always need that. It changes ``source.net`` in memory, not its file.
    Errors: UncalibratedWidthError for a width without statistics; UserError for data that does not fit.
    """
    settings = settings or Settings()
    device = checked_device(device)
    meta = source.net.metadata
    settings = dataclasses.replace(settings, image_size=settings.image_size or meta["data"]["image_size"])
    widths = sorted(set(widths), reverse=True)
    calibrate = calibrate or source.is_random
    if not calibrate:
        extract_widths(source, widths, device)  # a width that cannot be had is said before any image is read
    train, test = load_splits(dataset, root, settings.image_size)
    views = train_views(dataset, settings.image_size, meta)
    name = name or (Path(root).resolve().name if root else dataset)
    source.net.to(device)
    results = []
    with Progress(disable=not progress) as bar:
        if calibrate or settings.protocol == "paper":  # what looks at an image more than once
            train.decode(lambda indices: bar.track(indices, description="images"))
        if calibrate:
            loader = calibration_images(train, views, settings, meta)
            source.net.calibrate(bar.track(loader, description="calibration"), widths)
        modules = extract_widths(source, widths, device)
        shared = Evaluation(modules, train, test, views, meta["mean"], meta["std"], settings, device, bar)
        for task, width, metrics, seconds, details in PROTOCOL[settings.protocol](shared):
            result = make_result(source, name, task, width, metrics, seconds, details, settings, calibrate)
            result.write(result_folder(output, name, task, width, source.method))
            results.append(result)
    return results


def load_splits(dataset: str, root: Path | None, image_size: int) -> tuple[Images, Images]:
    """The training and the test images; UserError if their classes differ."""
    train, test = (Images(image_dataset(dataset, root, split, image_size)) for split in ("train", "test"))
    if train.classes != test.classes:
        odd = sorted(map(str, set(train.classes) ^ set(test.classes)))
        raise UserError(
            f"training and test images differ in their classes: {', '.join(odd[:5])} is in one of them only"
        )
    return train, test


def calibration_images(train: Images, views: Views, settings: Settings, metadata: dict) -> CalibrationBatches:
    """Training images as calibration after pretraining sees them, as many in a batch and as many batches."""
    recorded = metadata["calibration"]
    size = settings.calibration_batch or recorded.get("batch_size", 128)
    count = settings.calibration_batches or recorded.get("batches", 16)
    return CalibrationBatches(
        train, views, settings.image_size, size, count, settings.seed, metadata["mean"], metadata["std"]
    )  # fmt: skip


def fast(shared: Evaluation) -> Iterator[Outcome]:
    """kNN and the linear probe from the same cached features."""
    yield from on_features(shared, (knn_outcome, probe_outcome))


def knn(shared: Evaluation) -> Iterator[Outcome]:
    yield from on_features(shared, (knn_outcome,))


def on_features(shared: Evaluation, tasks: tuple[Callable, ...]) -> Iterator[Outcome]:
    """Extract the features of all widths once, then do each task at each width; seconds include a share of the pass."""
    started = time.perf_counter()
    train, labels = shared.features(shared.train, "features of training images")
    test, test_labels = shared.features(shared.test, "features of test images")
    share = (time.perf_counter() - started) / len(shared.modules)
    classes = len(shared.train.classes)
    steps = [(task, width) for task in tasks for width in shared.modules]
    for task, width in shared.bar.track(steps, description="heads"):
        started = time.perf_counter()
        kind, scores, details = task(train[width], labels, test[width], classes, shared.settings)
        metrics = accuracies(scores, test_labels)
        yield kind, width, metrics, share + time.perf_counter() - started, details


def knn_outcome(train: Tensor, labels: Tensor, test: Tensor, classes: int, settings: Settings):
    k = min(settings.neighbours or neighbours(len(train)), len(train))
    return "knn", knn_scores(train, labels, test, classes, k, settings.temperature), {"neighbours": k}


def probe_outcome(train: Tensor, labels: Tensor, test: Tensor, classes: int, settings: Settings):
    probe = train_probe(train, labels, classes, settings.probe, settings.seed)
    chosen = {
        "learning_rate": probe.learning_rate,
        "weight_decay": probe.weight_decay,
        "validation_top1": probe.validation_top1,
    }
    return "linear", probe(test), {"chosen": chosen}


@torch.no_grad()
def paper(shared: Evaluation) -> Iterator[Outcome]:
    """The paper's linear evaluation: heads of all widths trained on the same augmented batches."""
    started = time.perf_counter()
    sgd, seed, classes = shared.settings.sgd, shared.settings.seed, len(shared.train.classes)
    bar = shared.bar.add_task("linear heads", total=sgd.epochs * -(-len(shared.train) // sgd.batch))

    def tick(loss: float) -> None:
        shared.bar.update(bar, advance=1, description=f"linear heads, loss {loss:.3f}")

    with torch.enable_grad():
        heads = train_heads_sgd(shared.modules, shared.augmented_batches, classes, sgd, seed, tick)
    features, labels = shared.features(shared.test, "features of test images")
    share = (time.perf_counter() - started) / len(heads)
    for width, head in heads.items():
        yield "linear", width, accuracies(head(features[width]), labels), share, {}


PROTOCOL = {"fast": fast, "knn": knn, "paper": paper}


def make_result(
    source: Source,
    dataset: str,
    task: str,
    width: float,
    metrics: dict,
    seconds: float,
    details: dict,
    settings: Settings,
    calibrate: bool,
) -> Result:
    cost = source.net.cost(width, image_size=settings.image_size)
    recorded = settings.recorded() | {"calibrate": calibrate}
    return Result(
        task=task, dataset=dataset, method=source.method, backbone=source.backbone, width=width, seed=settings.seed,
        metrics=metrics, params=cost.params, macs=cost.macs, checkpoint=source.checkpoint_hash,
        config=settings_hash({"dataset": dataset, "task": task, **recorded}), seconds=seconds,
        details={"protocol": settings.protocol, "settings": recorded, "pretraining": source.pretraining, **details},
    )  # fmt: skip
