"""The protocols, each for all widths from one pass over the images: three on frozen features, and fine-tuning."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import torch
from rich.progress import Progress
from torch import Tensor, nn

from pretrain.common.devices import sent
from pretrain.data.augmentation.settings import Augmentation
from pretrain.data.order import epoch_order
from pretrain.knn import knn_scores, neighbours
from transfer.recognition.features import Extractor, View
from transfer.recognition.finetune import fine_tuned
from transfer.recognition.images import Images, as_tested, augmented, batches, shown
from transfer.recognition.metrics import accuracies
from transfer.recognition.probe import train_probe
from transfer.recognition.settings import RecognitionSettings
from transfer.recognition.sgd import LinearSettings, train_heads_sgd

VIEWS = 4  # augmented, of each training image, for the fast probe; eight take it twice the time (docs/results.md)
VIEWS_BYTES = 2**32  # of features for which it takes fewer, down to none (then the view of testing alone)

Outcome = tuple[str, float, dict, float, dict]  # task, width, metrics, seconds, details


@dataclass
class Evaluation:
    """What the protocols share: the images, the plain backbones and where they run."""

    modules: dict[float, nn.Module]
    extractor: Extractor
    train: Images
    test: Images
    train_augmentation: Augmentation
    mean: list[float]
    std: list[float]
    settings: RecognitionSettings
    linear: LinearSettings
    device: str
    bar: Progress

    @property
    def classes(self) -> int:
        return len(self.train.classes)

    def features_of_training_images(self, views: int = 0) -> dict[float, list[Tensor]]:
        """Features of the view without augmentation and then of so many augmented ones."""
        settings = self.settings
        more = [View(settings.image_size, self.train_augmentation, settings.seed, number) for number in range(views)]
        tested = View(settings.image_size, interpolation=settings.interpolation)
        return self.extractor(self.train, [tested, *more], "features of training images")

    def features_of_test_images(self) -> dict[float, Tensor]:
        tested = View(self.settings.image_size, interpolation=self.settings.interpolation)
        found = self.extractor(self.test, [tested], "features of test images")
        return {width: features for width, [features] in found.items()}

    def augmented_batches(self, epoch: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised training views and labels of an epoch, in a new order, ``batch`` at a time."""
        settings = self.settings
        view = augmented(self.train, self.train_augmentation, settings.image_size, settings.seed, epoch)
        order = epoch_order(len(self.train), settings.seed, epoch).tolist()
        for images, labels in batches(view, batch, order, settings.workers):
            yield shown(images, self.device, self.mean, self.std), sent(labels, torch.device(self.device))


def fast(shared: Evaluation) -> Iterator[Outcome]:
    """kNN and the linear probe from the same cached features."""
    views = shared.settings.num_views
    if views is None:
        views = min(VIEWS, VIEWS_BYTES // shared.extractor.bytes_of_a_view(len(shared.train)))
    yield from on_features(shared, (knn_outcome, probe_outcome), views)


def knn(shared: Evaluation) -> Iterator[Outcome]:
    """Nearest neighbours alone."""
    yield from on_features(shared, (knn_outcome,), 0)


def on_features(shared: Evaluation, tasks: tuple[Callable, ...], views: int) -> Iterator[Outcome]:
    """Extract the features of all widths once, then do each task at each width; seconds include a share of the pass."""
    started = time.perf_counter()
    train, test = shared.features_of_training_images(views), shared.features_of_test_images()
    share = (time.perf_counter() - started) / len(shared.modules)
    labels, test_labels = shared.train.labels.to(shared.device), shared.test.labels.to(shared.device)
    steps = [(task, width) for task in tasks for width in shared.modules]
    for task, width in shared.bar.track(steps, description="heads"):
        started = time.perf_counter()
        found = [features.to(shared.device) for features in train[width]]
        kind, scores, details = task(found, labels, test[width].to(shared.device), shared.classes, shared.settings)
        metrics = accuracies(scores, test_labels)
        details |= {"precision": shared.extractor.precision}
        yield kind, width, metrics, share + time.perf_counter() - started, details


def knn_outcome(train: list[Tensor], labels: Tensor, test: Tensor, classes: int, settings: RecognitionSettings):
    """Neighbours among the training images as tested."""
    images = train[0]
    k = min(settings.neighbours or neighbours(len(images)), len(images))
    return "knn", knn_scores(images, labels, test, classes, k, settings.temperature), {"neighbours": k}


def probe_outcome(train: list[Tensor], labels: Tensor, test: Tensor, classes: int, settings: RecognitionSettings):
    """The linear probe on all training views, that of testing among them."""
    tested, *views = train
    probe = train_probe([*views, tested], tested, labels, classes, settings.probe, settings.seed)
    chosen = {
        "learning_rate": probe.learning_rate,
        "weight_decay": probe.weight_decay,
        "validation_top1": probe.validation_top1,
    }
    return "linear", probe(test), {"chosen": chosen, "views": len(views)}


def paper(shared: Evaluation) -> Iterator[Outcome]:
    """The paper's linear evaluation: heads of all widths trained on the same augmented batches."""
    started = time.perf_counter()
    heads = trained(shared, shared.linear, lambda epoch: shared.augmented_batches(epoch, shared.linear.batch))
    metrics = tested(shared, heads)
    share = (time.perf_counter() - started) / len(heads)
    for width in heads:
        yield "linear", width, metrics[width], share, {"recipe": asdict(shared.linear)}


def trained(
    shared: Evaluation, linear: LinearSettings, epoch_batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]]
) -> dict[float, nn.Linear]:
    """The heads of all widths by ``linear`` on the batches of each epoch, with a bar of their loss."""
    per_epoch = -(-len(shared.train) // linear.batch)
    bar = shared.bar.add_task("linear heads", total=linear.epochs * per_epoch)

    def tick(loss: float) -> None:
        shared.bar.update(bar, advance=1, description=f"linear heads, loss {loss:.3f}")

    return train_heads_sgd(
        shared.modules, shared.extractor.sizes, epoch_batches, per_epoch, shared.classes, linear, shared.settings.seed,
        tick,
    )  # fmt: skip


@torch.no_grad()
def tested(shared: Evaluation, heads: dict[float, nn.Linear]) -> dict[float, dict]:
    """Metrics of each width's head on the test images."""
    features, labels = shared.features_of_test_images(), shared.test.labels.to(shared.device)
    return {
        width: accuracies(head(features[width].to(shared.device, head.weight.dtype)), labels)
        for width, head in heads.items()
    }


def finetune(shared: Evaluation) -> Iterator[Outcome]:
    """Every width's network trained further with a new classifier, all on the same augmented batches."""
    started, settings, precision = time.perf_counter(), shared.settings, shared.extractor.precision
    name = next(iter(shared.modules.values())).name
    tuning = settings.finetune(name, len(shared.train))
    bar = shared.bar.add_task("fine-tuning", total=tuning.epochs * tuning.per_epoch(len(shared.train)))

    def tick(loss: float) -> None:
        shared.bar.update(bar, advance=1, description=f"fine-tuning, loss {loss:.3f}")

    networks = fine_tuned(
        shared.modules, shared.extractor.sizes, lambda epoch: shared.augmented_batches(epoch, tuning.batch),
        len(shared.train), shared.classes, tuning, settings.seed, tick, precision,
    )  # fmt: skip
    metrics = classified(shared, networks)
    share = (time.perf_counter() - started) / len(networks)
    for width in networks:
        yield "finetune", width, metrics[width], share, {"recipe": asdict(tuning), "precision": precision}


@torch.no_grad()
def classified(shared: Evaluation, networks: dict[float, nn.Module]) -> dict[float, dict]:
    """Metrics of whole networks on the test images, which are looked at once."""
    settings, scores = shared.settings, {width: [] for width in networks}
    view = as_tested(shared.test, settings.image_size, settings.interpolation)
    for images, _ in batches(view, shared.extractor.batch, workers=settings.workers):
        x = shown(images, shared.device, shared.mean, shared.std)
        for width, network in networks.items():
            scores[width].append(network(x))
    labels = shared.test.labels.to(shared.device)
    return {width: accuracies(torch.cat(parts), labels) for width, parts in scores.items()}


PROTOCOL = {"fast": fast, "knn": knn, "paper": paper, "finetune": finetune}
