"""From a universal network to result.json through detectron2."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from pretrain.common.errors import NonFiniteLossError, UncalibratedWidthError, UserError
from pretrain.plain.cost import cost
from tests.pretrain.helpers import universal
from tests.requirements import requires
from tests.transfer.detection.conftest import otherwise, run_of
from transfer.detection.detect import detect
from transfer.results import read_result, read_results
from transfer.source import Source

pytestmark = requires("detection")


@pytest.fixture
def random(source):
    return Source(source.net.reinitialised(0), "random", None)


def iterations(folder):
    """The iteration of each line of metrics.jsonl."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line["loss"] > 0 and line["seconds"] > 0 for line in lines)
    return [line["iteration"] for line in lines]


def weights(output, settings):
    """Of the one training of width 0.5 below ``output``."""
    folder = run_of(output / settings.data.name / "detection/width_0.5")
    return torch.load(folder / "model_final.pth", weights_only=True)["model"]


def test_a_width_becomes_a_result(source, settings, tmp_path):
    record = detect(source, 0.5, settings, tmp_path, "digit_scenes")
    folder = run_of(tmp_path / "digit_scenes/detection/width_0.5")
    assert read_results(tmp_path) == [record] and (folder / "result.json").is_file()
    assert (record["task"], record["dataset"], record["method"], record["width"]) == (
        "detection",
        "digit_scenes",
        "us3l",
        0.5,
    )
    assert record["checkpoint"] == source.net.hash and record["backbone"] == "resnet18"
    expected = cost(source.net.extract(0.5), 64)
    assert (record["params"], record["macs"]) == (expected.params, expected.macs)
    detector = record["details"]["detector"]
    assert detector["params"] > record["params"] and detector["macs"] > record["macs"]
    assert {"box/AP", "box/AP50", "box/AP75", "mask/AP", "mask/AP50", "mask/AP75"} <= set(record["metrics"])
    assert set(record["details"]["per_class_AP"]["box"]) <= set("0123456789")
    left = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "log.txt", "metrics.jsonl", "model_final.pth", "backbone", "inference"} <= left
    assert any(name.startswith("events.out.tfevents") for name in left) and iterations(folder) == [2]


def test_training_starts_from_the_extracted_weights(source, settings, tmp_path):
    """A learning rate of zero leaves what was loaded."""
    detect(source, 0.5, replace(settings, overrides=("optimizer.lr=0",)), tmp_path)
    state = weights(tmp_path, settings)
    plain = source.net.extract(0.5)
    assert torch.equal(state["backbone.bottom_up.stem.conv1.weight"], plain.conv1.weight)
    assert torch.equal(state["backbone.bottom_up.res5.1.conv2.weight"], plain.layer4[1].conv2.weight)


def test_a_resnet50_has_a_pyramid_of_its_own_channels(settings, tmp_path):
    net = universal("resnet50", base_channels=16)
    record = detect(Source(net, "us3l", net.hash), 0.5, replace(settings, iterations=1), tmp_path)
    state = weights(tmp_path, settings)
    outer = net.backbone.channels(0.5).outer
    assert [state[f"backbone.fpn_lateral{i}.weight"].shape[1] for i in range(2, 6)] == list(outer)
    assert record["backbone"] == "resnet50" and record["params"] == net.cost(0.5).params


def test_random_weights_are_drawn_by_the_seed_and_marked(source, random, settings, tmp_path):
    record = detect(random, 0.25, settings, tmp_path)  # no calibration needed
    assert (record["method"], record["checkpoint"], record["details"]["pretraining"]) == ("random", None, None)
    assert (run_of(tmp_path / settings.data.name / "detection/width_0.25_random") / "result.json").is_file()


def test_a_resumed_training_goes_on_and_eval_only_repeats_the_evaluation(source, settings, tmp_path):
    settings = replace(settings, overrides=("train.log_period=1",))
    detect(source, 0.5, settings, tmp_path)
    folder = run_of(tmp_path / settings.data.name / "detection/width_0.5")
    resumed = detect(source, 0.5, replace(settings, iterations=4, resume=True), tmp_path)
    assert (
        iterations(folder) == [1, 2, 3, 4] and "Starting training from iteration 2" in (folder / "log.txt").read_text()
    )
    same = replace(
        settings, iterations=None, overrides=(), eval_only=True, data=otherwise(settings.data, tmp_path / "other")
    )
    again = detect(source, 0.5, same, tmp_path)
    assert again["metrics"] == resumed["metrics"] and again["details"]["iterations"] == 4
    assert again["details"]["classes"] == 10
    assert read_result(folder / "result.json") == resumed, "an evaluation on others has a place of its own"
    repeated = detect(source, 0.5, replace(same, data=settings.data), tmp_path)
    assert read_result(folder / "result.json") == repeated, "and one on the same takes the place of the former"
    for number in (1, 2):
        fresh = detect(source, 0.5, settings, tmp_path)  # without --resume it starts anew
        assert iterations(folder) == [1, 2] and fresh["details"]["iterations"] == 2
        # the earlier ones are set aside, where tables do not see them
        assert [path.name for path in sorted((folder / "previous").iterdir())] == ["1", "2"][:number]
    assert iterations(folder / "previous/1")[-1] == 4 and (folder / "previous/1/model_final.pth").is_file()
    assert [found for found in read_results(tmp_path) if found != again] == [fresh]


def test_a_resume_without_checkpoints_begins_anew_and_sets_aside_what_was_trained(source, settings, tmp_path):
    before = detect(source, 0.5, settings, tmp_path)
    folder = run_of(tmp_path / settings.data.name / "detection/width_0.5")
    trained = (folder / "model_final.pth").read_bytes()
    shutil.rmtree(folder / "checkpoints")
    again = detect(source, 0.5, replace(settings, resume=True), tmp_path)
    assert (folder / "previous/1/model_final.pth").read_bytes() == trained
    assert again["metrics"] == before["metrics"] and iterations(folder)[-1] == 2


def test_the_same_seed_gives_the_same_weights(source, settings, tmp_path):
    states = []
    for name in ("a", "b"):
        detect(source, 0.5, replace(settings, iterations=1), tmp_path / name)
        states.append(weights(tmp_path / name, settings))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_boxes_alone_are_trained_where_there_are_no_masks(source, settings, tmp_path, capsys):
    data = tmp_path / "boxes"
    shutil.copytree(settings.data, data)
    for path in (data / "annotations").iterdir():
        content = json.loads(path.read_text())
        for annotation in content["annotations"]:
            del annotation["segmentation"]
        path.write_text(json.dumps(content))
    record = detect(source, 0.5, replace(settings, iterations=1, data=data), tmp_path)
    assert set(record["metrics"]) == {f"box/{name}" for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
    assert "masks" not in record["details"]["detector"]["parts"] and set(record["details"]["per_class_AP"]) == {"box"}
    shown = capsys.readouterr().out
    assert "Faster R-CNN on resnet18" in shown and "no masks in train2017 and val2017: Faster R-CNN" in shown


def test_two_processes_share_a_batch(source, settings, tmp_path):
    record = detect(source, 0.5, replace(settings, num_gpus=2), tmp_path)
    assert record["details"]["processes"] == 2 and record["details"]["batch"] == 2
    assert record["metrics"]["box/AP"] is not None


def test_mistakes_are_found_before_anything_trains(source, settings, tmp_path):
    with pytest.raises(UncalibratedWidthError, match="calibrated widths"):
        detect(source, 0.3, settings, tmp_path)
    with pytest.raises(UserError, match="--eval-only, but .* holds no checkpoint"):
        detect(source, 0.5, replace(settings, eval_only=True), tmp_path)
    assert not list(tmp_path.rglob("model_*.pth"))


def test_a_diverged_training_names_the_step(source, settings, tmp_path):
    with pytest.raises(
        NonFiniteLossError, match="resnet18 x 0.5 us3l, iteration [1-4]: .*; last good checkpoint: none"
    ):
        detect(source, 0.5, replace(settings, iterations=5, overrides=("optimizer.lr=1e30",)), tmp_path)
