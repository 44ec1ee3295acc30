"""From images to one result.json for each width and task."""

import shutil

import pytest

from pretrain.errors import UncalibratedWidthError, UserError
from tests.pretrain.helpers import universal
from tests.pretrain.networks import TINY
from transfer.recognition.evaluate import evaluate
from transfer.recognition.settings import Settings
from transfer.results import read_results
from transfer.source import Source

QUICK = Settings(epochs=60, seed=1)


def test_fast_writes_linear_and_knn_for_each_width(source, image_folder, tmp_path):
    results = evaluate(
        source, "folder", image_folder, [0.5, 1.0], tmp_path / "out", QUICK, calibrate=True, progress=False
    )
    assert [(r.task, r.width) for r in results] == [("knn", 1.0), ("knn", 0.5), ("linear", 1.0), ("linear", 0.5)]
    assert min(r.metrics["top1"] for r in results) > 85, "two colours are told apart"
    for r in results:
        task = {"linear": "linear_fast", "knn": "knn"}[r.task]
        assert (tmp_path / "out" / "photos" / task / f"width_{r.width:g}" / "result.json").is_file()
        cost = source.net.cost(r.width, image_size=16)
        assert (r.params, r.macs, r.checkpoint, r.seed) == (cost.params, cost.macs, source.net.hash, 1)
        assert (r.method, r.backbone, r.dataset) == ("us3l", "resnet18", "photos")
        assert r.details["pretraining"]["data"]["name"] == "noise" and r.details["settings"]["image_size"] == 16
    assert results[2].details["chosen"]["learning_rate"] in QUICK.learning_rates
    assert len(read_results(tmp_path / "out")) == 4


def test_knn_alone_writes_no_linear_result(source, image_folder, tmp_path):
    settings = Settings(protocol="knn", neighbours=3)
    [result] = evaluate(source, "folder", image_folder, [1.0], tmp_path, settings, name="brightness", progress=False)
    assert (result.task, result.dataset, result.details["neighbours"]) == ("knn", "brightness", 3)


def test_the_papers_protocol(source, image_folder, tmp_path):
    settings = Settings(protocol="paper", epochs=10, batch=16)
    results = evaluate(source, "folder", image_folder, [1.0, 0.5], tmp_path, settings, calibrate=True, progress=False)
    assert [(r.task, r.width) for r in results] == [("linear", 1.0), ("linear", 0.5)]
    assert min(r.metrics["top1"] for r in results) > 85 and results[0].details["protocol"] == "paper"


def test_random_weights_are_calibrated_here_and_kept_apart(network, image_folder, tmp_path):
    random = Source(network.reinitialised(0), "random", None)
    [result] = evaluate(random, "folder", image_folder, [0.3], tmp_path, Settings("knn"), progress=False)
    assert (result.method, result.checkpoint, result.details["pretraining"]) == ("random", None, None)
    assert (tmp_path / "photos" / "knn" / "width_0.3_random" / "result.json").is_file()


@pytest.mark.parametrize("variant", ["mobilenetv2-cifar", "vit_tiny-embedding", "vit_small-inputs"])
def test_every_kind_of_backbone_is_evaluated(variant, image_folder, tmp_path):
    torch.manual_seed(0)
    name, options = TINY[variant]
    net = universal(name, **options)
    source = Source(net, "us3l", net.hash)
    [knn, linear] = evaluate(source, "folder", image_folder, [0.5], tmp_path, QUICK, calibrate=True, progress=False)
    assert linear.metrics["top1"] > 85 and knn.backbone == name
    assert (linear.params, linear.macs) == tuple(vars(net.cost(0.5, image_size=32)).values())


def test_a_random_backbone_without_batch_norms_needs_no_calibration(image_folder, tmp_path):
    net = universal("vit_tiny", image_size=32, depth=1)
    random = Source(net.reinitialised(0), "random", None)
    [result] = evaluate(random, "folder", image_folder, [0.3], tmp_path, Settings("knn"), progress=False)
    assert (result.method, result.width) == ("random", 0.3)


def test_an_uncalibrated_width_names_the_others_and_the_way_out(source, image_folder, tmp_path):
    with pytest.raises(UncalibratedWidthError, match=r"0\.3 is not calibrated.* 1, 0\.5; --calibrate"):
        evaluate(source, "folder", image_folder, [0.3], tmp_path, QUICK, progress=False)
    [result] = evaluate(
        source, "folder", image_folder, [0.3], tmp_path, Settings("knn"), calibrate=True, progress=False
    )
    assert result.width == 0.3


def test_a_width_outside_the_range_is_refused(source, image_folder, tmp_path):
    for calibrate in (False, True):
        with pytest.raises(UserError, match=r"outside the range 0\.25 to 1"):
            evaluate(source, "folder", image_folder, [0.1], tmp_path, QUICK, calibrate=calibrate, progress=False)


def test_the_same_seed_gives_the_same_figures(source, image_folder, tmp_path):
    hard = Settings(epochs=1, learning_rates=(0.01,), weight_decays=(0.0,))
    one, other = (
        evaluate(source, "folder", image_folder, [0.5], tmp_path / str(i), hard, progress=False) for i in (0, 1)
    )
    assert [r.metrics for r in one] == [r.metrics for r in other] and [r.config for r in one] == [
        r.config for r in other
    ]


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
    settings = Settings(protocol="knn", image_size=96, neighbours=1)
    [result] = evaluate(
        source, "folder", tmp_path / "photos", [0.5], tmp_path, settings, calibrate=True, progress=False
    )
    assert result.metrics["top1"] == 100 and result.details["settings"]["image_size"] == 96
