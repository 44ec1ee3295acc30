"""Did it help? Random weights, given ones and a pretraining's, on somebody's own images, judged by paired seeds.

A seed draws the labels that are learned from, the order of the images, the classifier's initial weights and the random
network, so the systems of one seed differ in their weights alone. All have batch-norm statistics of these training
images. What was evaluated already is read from the output and not done again.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.evidence.paired import Difference, paired
from pretrain.common.errors import UserError
from pretrain.data.augmentation.settings import usual_interpolation
from pretrain.sections import BackboneSettings
from pretrain.slimmable.widths import check_width
from pretrain.universal import UniversalNetwork
from pretrain.weights.start import load_start
from transfer.recognition.evaluate import described, evaluate, identity, normalisation
from transfer.recognition.images import Images
from transfer.recognition.labels import labelled
from transfer.recognition.settings import RecognitionSettings
from transfer.recognition.targets import load_splits
from transfer.results import Result, survey
from transfer.source import Source, load_source
from transfer.targets import headline
from transfer.weights import IMAGENET

RANDOM, GIVEN, OURS = "random", "given", "ours"
Scores = dict[tuple[float, float, str], dict[int, float]]  # (labels, width, system) -> seed -> percent


@dataclass(frozen=True)
class Question:
    """What is compared. target, root: of the images. weights: the given ones, None for none; prefix: of theirs in the
    file. labels: shares. settings: of the evaluation, whose seed and labels are replaced."""

    checkpoint: Path
    target: str
    root: Path | None
    widths: list[float]
    labels: list[float]
    seeds: list[int]
    settings: RecognitionSettings
    output: Path
    weights: Path | None = None
    prefix: str | None = None
    sort: str = "l1"

    @property
    def systems(self) -> list[str]:
        return [RANDOM, *([GIVEN] if self.weights else []), OURS]


def given_source(question: Question, images: Images) -> Source:
    """The given weights in the checkpoint's architecture, their channels sorted, normalised as their file says."""
    net = load_source(question.checkpoint).net
    architecture = BackboneSettings(
        **net.metadata["backbone"], weights=str(question.weights), weights_prefix=question.prefix, sort=question.sort
    )
    start = load_start(architecture, seed=0)
    print(f"{question.weights}: {start.fit}", flush=True)
    metadata = net.reinitialised(0).metadata | {"method": question.weights.stem}
    metadata |= {key: start.record.get(key, IMAGENET[key]) for key in IMAGENET}
    start.prepared(images, metadata["data"]["image_size"], metadata["mean"], metadata["std"], seed=0)
    found = UniversalNetwork(start.backbone, metadata)
    return Source(found, metadata["method"], found.hash, told={"file": question.weights.name, **start.record})


def source_of(system: str, question: Question, seed: int, given: Source | None) -> Source:
    """The weights of a system at a seed, each time anew: an evaluation calibrates and moves them."""
    if system == GIVEN:
        net = UniversalNetwork(given.net.backbone, given.net.metadata)
        return replace(given, net=net)
    return load_source(question.checkpoint, RANDOM if system == RANDOM else "pretrained", seed)


def answer(question: Question, device: str | None = None) -> tuple[Scores, UniversalNetwork, tuple[Images, Images]]:
    """Evaluate whatever is missing. Errors: UserError for weights, images or settings that don't fit, before training.

    Returns the scores, the network and the (training, test) images.
    """
    ours = load_source(question.checkpoint)
    check(question)
    for width in question.widths:
        check_width(width, *ours.net.width_range)
    size = question.settings.image_size or ours.metadata["data"]["image_size"]
    train, test = load_splits(question.target, question.root, size, ours.net.backbone.input_channels)
    given = given_source(question, train) if question.weights else None
    test.decode()
    scores: Scores = defaultdict(dict)
    for share, seed in ((share, seed) for seed in question.seeds for share in question.labels):
        settings = replace(question.settings, image_size=size, labels=share, seed=seed)
        learnt = labelled(train, share, seed) if share < 1 else train
        images = {"images": described(learnt, test), "identity": identity(learnt, test)}
        for system in question.systems:
            source, folder = source_of(system, question, seed, given), question.output / system / f"seed_{seed}"
            found = {r.width: r for r in _done(folder, source, settings, images)}
            missing = [width for width in question.widths if width not in found]
            if missing:
                print(f"{system}, {100 * share:g} % of the labels, seed {seed}", flush=True)
                made = evaluate(
                    source, question.target, question.root, missing, folder, settings, calibrate=True, device=device,
                    splits=(train, test),
                )  # fmt: skip
                found |= {r.width: r for r in made if r.task == task(settings)}
            metric, *_ = headline(question.target, task(settings))
            for width in question.widths:
                scores[share, width, system][seed] = found[width].metrics[metric]
    return scores, ours.net, (train, test)


def task(settings: RecognitionSettings) -> str:
    """The task whose figures count."""
    return {"finetune": "finetune", "knn": "knn"}.get(settings.protocol, "linear")


def _done(folder: Path, source: Source, settings: RecognitionSettings, images: dict) -> Iterator[Result]:
    """Results in ``folder`` of the same weights, settings and images; images that do not say what they are, be it in a
    record or here, are never the same."""
    if images["identity"] is None or not folder.is_dir():
        return
    interpolation = settings.interpolation or usual_interpolation(settings.image_size)  # as the evaluation fills it in
    recorded = settings.recorded() | {"interpolation": interpolation}
    facts = {**images, "architecture": source.architecture, **normalisation(source)}
    facts, recorded = json.loads(json.dumps([facts, recorded]))  # as a record has them: tuples are lists there
    for _, record in survey(folder)[0]:
        details = record["details"]
        same = {name: details["settings"].get(name) for name in recorded}
        alike = same == recorded and {name: details.get(name) for name in facts} == facts
        if alike and (record["task"], record["checkpoint"]) == (task(settings), source.checkpoint_hash):
            yield Result(**{key: value for key, value in record.items() if key not in ("schema", "versions")})


@dataclass(frozen=True)
class Row:
    """A width and share of the labels: means by system, and ``ours`` less each other system."""

    labels: float
    width: float
    means: dict[str, float]
    against: dict[str, Difference]


def rows(question: Question, scores: Scores) -> list[Row]:
    """The table: shares, then widths, widest first."""
    found = []
    for share in sorted(question.labels):
        for width in sorted(question.widths, reverse=True):
            by_system = {system: scores[share, width, system] for system in question.systems}
            means = {system: sum(values.values()) / len(values) for system, values in by_system.items()}
            others = [system for system in question.systems if system != OURS]
            found.append(Row(share, width, means, {o: paired(by_system[OURS], by_system[o]) for o in others}))
    return found


def check(question: Question) -> None:
    """UserError for a question that has no answer."""
    if not question.seeds or not question.widths or not question.labels:
        raise UserError("expected at least one of --seeds, --widths and --labels each")
    if question.weights and not question.weights.is_file():
        raise UserError(f"no such file: {question.weights}; expected --weights FILE, .pth or .safetensors")
