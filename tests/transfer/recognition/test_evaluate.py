"""From images to one result.json for each width and task."""

import shutil
from collections import Counter
from copy import deepcopy
from dataclasses import asdict, replace

import pytest
import torch

from pretrain import UniversalNetwork, create_backbone
from pretrain.common.errors import UncalibratedWidthError, UserError
from pretrain.data.images.encoded import EncodedImage, EncodedImages
from pretrain.data.images.files import ImageFiles
from tests.pretrain.helpers import universal
from tests.pretrain.networks import TINY
from transfer.recognition import evaluate as evaluate_module
from transfer.recognition.evaluate import evaluate, folder_of
from transfer.recognition.settings import RecognitionSettings
from transfer.recognition.sgd import LinearSettings
from transfer.recognition.targets import load_splits
from transfer.results import read_results
from transfer.source import Source
from transfer.targets import headline

QUICK = RecognitionSettings(epochs=60, seed=1)
ONE_EPOCH = RecognitionSettings(epochs=1)


def test_fast_writes_linear_and_knn_for_each_width(source, image_folder, tmp_path):
    results = evaluate(
        source, "folder", image_folder, [0.5, 1.0], tmp_path / "out", QUICK, calibrate=True, progress=False
    )
    assert [(r.task, r.width) for r in results] == [("knn", 1.0), ("knn", 0.5), ("linear", 1.0), ("linear", 0.5)]
    assert min(r.metrics["top1"] for r in results) > 85, "two colours are told apart"
    for r in results:
        task = {"linear": "linear_fast", "knn": "knn"}[r.task]
        [path] = (tmp_path / "out" / "photos" / task / f"width_{r.width:g}").glob("seed_1-*/result.json")
        assert path.parent == folder_of(r, tmp_path / "out")
        cost = source.net.cost(r.width, image_size=16)
        assert (r.params, r.macs, r.checkpoint, r.seed) == (cost.params, cost.macs, source.net.hash, 1)
        assert (r.method, r.backbone, r.dataset) == ("us3l", "resnet18", "photos")
        assert r.details["pretraining"]["data"]["name"] == "noise" and r.details["settings"]["image_size"] == 16
    assert results[2].details["chosen"]["learning_rate"] in QUICK.learning_rates
    assert len(read_results(tmp_path / "out")) == 4


def test_knn_alone_writes_no_linear_result(source, image_folder, tmp_path):
    settings = RecognitionSettings(protocol="knn", neighbours=3)
    [result] = evaluate(source, "folder", image_folder, [1.0], tmp_path, settings, name="brightness", progress=False)
    assert (result.task, result.dataset, result.details["neighbours"]) == ("knn", "brightness", 3)


def test_the_papers_protocol(source, image_folder, tmp_path):
    settings = RecognitionSettings(protocol="paper", epochs=10, batch=16)
    results = evaluate(source, "folder", image_folder, [1.0, 0.5], tmp_path, settings, calibrate=True, progress=False)
    assert [(r.task, r.width) for r in results] == [("linear", 1.0), ("linear", 0.5)]
    assert min(r.metrics["top1"] for r in results) > 85 and results[0].details["protocol"] == "paper"


def test_random_weights_are_calibrated_here_and_kept_apart(network, image_folder, tmp_path):
    random = Source(network.reinitialised(0), "random", None)
    [result] = evaluate(random, "folder", image_folder, [0.3], tmp_path, RecognitionSettings("knn"), progress=False)
    assert (result.method, result.checkpoint, result.details["pretraining"]) == ("random", None, None)
    assert len(list((tmp_path / "photos" / "knn" / "width_0.3_random").glob("seed_0-*/result.json"))) == 1


@pytest.mark.parametrize("variant", ["mobilenetv2-cifar", "vit_tiny-embedding", "vit_small-inputs"])
def test_every_kind_of_backbone_is_evaluated(variant, image_folder, tmp_path):
    torch.manual_seed(0)
    name, options = TINY[variant]
    net = universal(name, **options)
    source = Source(net, "us3l", net.hash)
    plain = replace(QUICK, num_views=0)
    [knn, linear] = evaluate(source, "folder", image_folder, [0.5], tmp_path, plain, calibrate=True, progress=False)
    assert linear.metrics["top1"] > 85 and knn.backbone == name
    assert (linear.params, linear.macs) == tuple(vars(net.cost(0.5, image_size=32)).values())


def test_a_random_backbone_without_batch_norms_needs_no_calibration(image_folder, tmp_path):
    net = universal("vit_tiny", image_size=32, depth=1)
    random = Source(net.reinitialised(0), "random", None)
    [result] = evaluate(random, "folder", image_folder, [0.3], tmp_path, RecognitionSettings("knn"), progress=False)
    assert (result.method, result.width) == ("random", 0.3)


def test_an_uncalibrated_width_names_the_others_and_the_way_out(source, image_folder, tmp_path):
    with pytest.raises(UncalibratedWidthError, match=r"0\.3 is not calibrated.* 1, 0\.5; --calibrate"):
        evaluate(source, "folder", image_folder, [0.3], tmp_path, QUICK, progress=False)
    [result] = evaluate(
        source, "folder", image_folder, [0.3], tmp_path, RecognitionSettings("knn"), calibrate=True, progress=False
    )
    assert result.width == 0.3


def test_a_width_outside_the_range_is_refused(source, image_folder, tmp_path):
    for calibrate in (False, True):
        with pytest.raises(UserError, match=r"outside the range 0\.25 to 1"):
            evaluate(source, "folder", image_folder, [0.1], tmp_path, QUICK, calibrate=calibrate, progress=False)


def test_the_same_seed_gives_the_same_figures(source, image_folder, tmp_path):
    hard = RecognitionSettings(epochs=1, learning_rates=(0.01,), weight_decays=(0.0,))
    one, other = (
        evaluate(source, "folder", image_folder, [0.5], tmp_path / str(i), hard, progress=False) for i in (0, 1)
    )
    assert [r.metrics for r in one] == [r.metrics for r in other] and [r.config for r in one] == [
        r.config for r in other
    ]


def test_another_seed_setting_or_checkpoint_has_a_place_of_its_own(source, network, image_folder, tmp_path):
    """All into one output; the same evaluation done again takes its own place."""

    def run(source, settings, **changes):
        evaluate(source, "folder", image_folder, [0.5], tmp_path, settings, progress=False, **changes)
        return len(read_results(tmp_path))

    assert run(source, RecognitionSettings("knn")) == run(source, RecognitionSettings("knn")) == 1
    assert run(source, RecognitionSettings("knn", seed=1)) == 2
    assert run(source, RecognitionSettings("knn", neighbours=3)) == 3
    assert run(Source(network.reinitialised(0), "random", None), RecognitionSettings("knn")) == 4
    assert run(Source(network.reinitialised(1), "random", None), RecognitionSettings("knn", seed=1)) == 5
    other = UniversalNetwork(create_backbone(**network.metadata["backbone"]), network.metadata)
    other.calibrate([torch.randn(16, 3, 16, 16)], [0.5])
    assert run(Source(other, "us3l", other.hash), RecognitionSettings("knn")) == 6
    same = UniversalNetwork(other.backbone, deepcopy(other.metadata))
    same.calibrate([torch.randn(16, 3, 16, 16)], [0.5])
    assert run(Source(same, "us3l", same.hash), RecognitionSettings("knn")) == 7, "other statistics of equal batches"
    for file in list(image_folder.glob("train/*/*"))[:3]:
        file.unlink()
    assert run(source, RecognitionSettings("knn")) == 8, "other images"
    assert run(source, RecognitionSettings("knn"), calibrate=True) == 9


def test_folders_of_one_name_have_places_of_their_own(source, image_folder, tmp_path):
    shutil.copytree(image_folder, tmp_path / "b" / "photos", copy_function=shutil.copyfile)
    knn, output = RecognitionSettings("knn"), tmp_path / "out"
    for root in (image_folder, tmp_path / "b" / "photos", image_folder):
        evaluate(source, "folder", root, [0.5], output, knn, progress=False)
    one, other = (record["details"] for record in read_results(output))
    assert one["images"] == other["images"] and one["identity"] != other["identity"]


def test_images_that_do_not_say_what_they_are_are_evaluated_all_the_same(source, image_folder, tmp_path, monkeypatch):
    monkeypatch.delattr(ImageFiles, "identity")
    monkeypatch.delattr(EncodedImages, "identity")
    monkeypatch.setattr(ImageFiles, "__abstractmethods__", frozenset())
    [result] = evaluate(source, "folder", image_folder, [0.5], tmp_path, RecognitionSettings("knn"), progress=False)
    assert result.details["identity"] is None


def test_a_folder_without_images_or_with_other_classes_is_one_line(source, image_folder, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        evaluate(source, "folder", tmp_path / "absent", [1.0], tmp_path, QUICK, progress=False)
    (image_folder / "val" / "light").rename(image_folder / "val" / "bright")
    with pytest.raises(UserError, match="bright, light"):
        evaluate(source, "folder", image_folder, [1.0], tmp_path, QUICK, progress=False)
    for file in image_folder.glob("val/*/*"):
        file.unlink()
    with pytest.raises(UserError, match="no images below"):
        evaluate(source, "folder", image_folder, [1.0], tmp_path, QUICK, progress=False)


def test_every_photograph_is_its_own_nearest_neighbour(source, real_data, tmp_path):
    """Real JPEG files of all sizes: tested on the training images, one neighbour finds each."""
    for folder in sorted((real_data / "imagenet_mini" / "train").iterdir())[:8]:
        for split in ("train", "val"):
            shutil.copytree(folder, tmp_path / "photos" / split / folder.name)
    settings = RecognitionSettings(protocol="knn", image_size=96, neighbours=1)
    [result] = evaluate(
        source, "folder", tmp_path / "photos", [0.5], tmp_path, settings, calibrate=True, progress=False
    )
    assert result.metrics["top1"] == 100 and result.details["settings"]["image_size"] == 96


@pytest.fixture
def decoded(monkeypatch):
    """Counts how often each image file is decoded."""
    counts = Counter()
    decode = EncodedImage.decode

    def count(image, *args):
        counts[image.name] += 1
        return decode(image, *args)

    monkeypatch.setattr(EncodedImage, "decode", count)
    return counts


@pytest.mark.parametrize("protocol", ["fast", "knn", "paper"])
@pytest.mark.parametrize("calibrate", [False, True])
def test_one_pass_over_the_data_serves_every_width(protocol, calibrate, source, image_folder, tmp_path, decoded):
    source.net.calibrate([torch.randn(16, 3, 16, 16)], [0.25])
    settings = RecognitionSettings(protocol, epochs=3, batch=16)
    results = evaluate(
        source, "folder", image_folder, [1.0, 0.5, 0.25], tmp_path, settings, calibrate=calibrate, progress=False
    )
    assert {r.width for r in results} == {1.0, 0.5, 0.25}
    assert len(decoded) == 48 + 16 and set(decoded.values()) == {1}


def test_the_next_run_finds_the_features(source, image_folder, tmp_path, decoded, capsys):
    """Another sweep and another protocol over the same features read no image but the first of each split."""
    runs = [
        evaluate(source, "folder", image_folder, [1.0], tmp_path, settings, cache=tmp_path / "kept", progress=False)
        for settings in (ONE_EPOCH, replace(ONE_EPOCH, epochs=2, neighbours=3), RecognitionSettings("knn"))
    ]
    assert sorted(decoded.values()) == [1] * 62 + [3] * 2
    assert runs[2][0].metrics == runs[0][0].metrics, "kNN of the same features"
    first, second, third = [line for line in capsys.readouterr().out.splitlines() if line.startswith("features in")]
    assert "0.0 MB read" in first and "0.0 MB written" not in first
    assert "0.0 MB read" not in second and "0.0 MB written" in second and "0.0 MB written" in third


def unlearnable(folder):
    """Give each test image the other class by a toss of a coin, so that no head is right on all of them."""
    generator = torch.Generator().manual_seed(0)
    for path in sorted(folder.glob("val/*/*")):
        if torch.rand((), generator=generator) < 0.5:
            other = {"dark": "light", "light": "dark"}[path.parent.name]
            path.rename(path.parent.parent / other / f"moved_{path.name}")


@pytest.mark.parametrize("protocol", ["fast", "paper"])
def test_nothing_is_selected_on_test_images(protocol, source, image_folder, tmp_path):
    """The head is the same whatever it is tested on: the accuracy on two parts averages to that on both."""
    unlearnable(image_folder)
    parts = [sorted(image_folder.glob("val/*/*"))[i::2] for i in (0, 1)]
    found = []
    for kept in (parts[0] + parts[1], *parts):
        copy = tmp_path / f"copy {len(found)}"
        shutil.copytree(image_folder, copy)
        for path in image_folder.glob("val/*/*"):
            if path not in kept:
                (copy / path.relative_to(image_folder)).unlink()
        settings = RecognitionSettings(protocol, epochs=4, batch=16)
        found.append(evaluate(source, "folder", copy, [0.5], tmp_path / "out", settings, progress=False)[-1])
    whole, one, other = (r.metrics["top1"] for r in found)
    assert 0 < whole < 100 and whole == pytest.approx((one * len(parts[0]) + other * len(parts[1])) / 16)
    assert len({str(r.details.get("chosen")) for r in found}) == 1


def test_perfect_features_give_100(source, image_folder, tmp_path, monkeypatch):
    """Every metric of every protocol, with the class itself as the only feature."""

    class Oracle(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            light = (x.mean((1, 2, 3)) > 0).float()
            return torch.nn.functional.pad(torch.stack([light, 1 - light], 1), (0, 126))

    monkeypatch.setattr(evaluate_module, "extract_widths", lambda source, widths, device: {1.0: Oracle()})
    for protocol in ("fast", "paper"):
        settings = RecognitionSettings(protocol, epochs=5, neighbours=3)
        for r in evaluate(source, "folder", image_folder, [1.0], tmp_path, settings, progress=False):
            assert (r.metrics["top1"], r.metrics["class_mean"]) == (100, 100), r.task


def test_fast_and_paper_keep_each_others_results(source, image_folder, tmp_path):
    for protocol in ("paper", "fast"):
        settings = RecognitionSettings(protocol, epochs=1)
        evaluate(source, "folder", image_folder, [1.0], tmp_path, settings, progress=False)
    linear = [r for r in read_results(tmp_path) if r["task"] == "linear"]
    assert [r["details"]["protocol"] for r in linear] == ["paper", "fast"]
    assert linear[0]["details"]["recipe"] == asdict(LinearSettings(epochs=1))


def test_the_calibration_is_recorded_and_said(source, image_folder, tmp_path, capsys):
    [own] = evaluate(source, "folder", image_folder, [0.5], tmp_path, RecognitionSettings("knn"), progress=False)
    other = {"on": "other", "data": None, "batch_size": 16, "batches": 1}
    assert own.details["calibration"] == other, "the fixture's network was calibrated by hand"
    assert "batch-norm statistics: of images given by hand (unnamed, 1 batches of 16)" in capsys.readouterr().out
    settings = RecognitionSettings("knn", calibration_batch=8, calibration_batches=3)
    [new] = evaluate(source, "folder", image_folder, [0.5], tmp_path, settings, calibrate=True, progress=False)
    assert new.details["calibration"] == {"on": "target", "data": "photos", "batch_size": 8, "batches": 3}
    expected = "of the target's training images (photos, 3 batches of 8)"
    assert expected in capsys.readouterr().out and own.config != new.config
    assert source.net.calibration_of(1.0) == other, "that of the other width stands"


def test_pets_are_headed_by_the_mean_of_their_classes(source, image_folder, tmp_path, monkeypatch):
    splits = load_splits("folder", image_folder, 16)
    monkeypatch.setattr(evaluate_module, "load_splits", lambda *args: splits)
    for target, metric in (("pets", "class_mean"), ("dtd", "top1")):
        [result] = evaluate(source, target, image_folder, [0.5], tmp_path, RecognitionSettings("knn"), progress=False)
        assert (result.dataset, headline(result.details["target"], result.task)) == (target, (metric,))
