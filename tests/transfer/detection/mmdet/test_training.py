"""From a universal network to result.json through mmdet."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from pretrain.common.errors import NonFiniteLossError, UncalibratedWidthError, UserError
from pretrain.plain.cost import cost
from tests.requirements import requires
from tests.transfer.detection.conftest import Evil, otherwise, run_of, truncated
from tests.transfer.detection.mmdet.conftest import LIGHT
from transfer.detection.detect import detect
from transfer.results import read_results

pytestmark = requires("detection", "mmdet")


def folder_of(settings, output, name="width_0.5"):
    return run_of(output / settings.data.name / "detection_mmdet" / name)


def weights(folder):
    return torch.load(folder / "model_final.pth", weights_only=True)["state_dict"]


def test_a_width_becomes_a_result(source, settings, tmp_path, capsys):
    record = detect(source, 0.9, replace(settings, iterations=1), tmp_path, "digit_scenes")
    folder = run_of(tmp_path / "digit_scenes/detection_mmdet/width_0.9")
    assert read_results(tmp_path) == [record] and (folder / "result.json").is_file()
    assert (record["task"], record["dataset"], record["method"], record["width"]) == (
        "detection", "digit_scenes", "us3l", 0.9,
    )  # fmt: skip
    assert record["checkpoint"] == source.net.hash and record["details"]["framework"] == "mmdet"
    expected = cost(source.net.extract(0.9), 64)
    assert (record["params"], record["macs"]) == (expected.params, expected.macs)
    detector = record["details"]["detector"]
    assert detector["params"] > record["params"] and detector["macs"] == sum(detector["parts"].values())
    assert detector["parts"]["backbone"] > record["macs"]  # with the pyramid
    assert {"box/AP", "box/AP50", "box/AP75", "mask/AP", "mask/AP50", "mask/AP75"} <= set(record["metrics"])
    assert set(record["details"]["per_class_AP"]["box"]) <= set("0123456789")
    left = {path.name for path in folder.iterdir() if path.is_file()}
    assert left == {"model_final.pth", "metrics.jsonl", "log.txt", "mask_rcnn_fpn_small.py", "result.json", "run.json"}
    [line] = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    assert (line["iteration"], line["iterations"]) == (1, 1) and line["loss"] > line["loss_mask"] > 0
    (scalars,) = folder.glob("*/vis_data/scalars.json")
    assert "loss_mask" in json.loads(scalars.read_text().splitlines()[0])
    shown = capsys.readouterr().out
    assert "norm        BN, on cpu" in shown and "loss_rpn_cls" in shown and "annotations into memory" not in shown


def test_training_starts_from_the_extracted_weights(source, settings, tmp_path):
    """A learning rate of zero leaves what was loaded."""
    overrides = (*LIGHT, "optim_wrapper.optimizer.lr=0.0")
    detect(source, 0.5, replace(settings, iterations=1, overrides=overrides), tmp_path)
    state, plain = weights(folder_of(settings, tmp_path)), source.net.extract(0.5)
    for name, parameter in plain.named_parameters():
        assert torch.equal(state[f"backbone.{name}"], parameter), name


def test_a_resumed_training_ends_with_the_same_weights_and_eval_only_repeats_the_evaluation(source, settings, tmp_path):
    settings = replace(settings, iterations=4, overrides=(*LIGHT, "default_hooks.checkpoint.interval=2"))
    whole = detect(source, 0.5, settings, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    cut = folder_of(settings, tmp_path / "cut")
    truncated(cut / "model_final.pth")
    truncated(cut / "checkpoints/iteration_00000004.pt")  # so that it goes on from iteration 2
    with pytest.warns(UserWarning, match="iteration_00000004.pt is damaged or unfinished"):
        resumed = detect(source, 0.5, replace(settings, resume=True), tmp_path / "cut")
    one, other = (weights(folder_of(settings, tmp_path / name)) for name in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert resumed["metrics"] == whole["metrics"] and resumed["config"] == whole["config"]
    assert "resumed after iteration 2" in (cut / "log.txt").read_text()
    same = replace(
        settings, iterations=None, overrides=(), eval_only=True, data=otherwise(settings.data, tmp_path / "other")
    )
    again = detect(source, 0.5, same, tmp_path / "cut")
    assert again["metrics"] == whole["metrics"] and again["details"]["train_images"] is None
    assert again["details"]["classes"] == 10
    detect(source, 0.5, replace(settings, iterations=1), tmp_path / "cut")  # of another length: at its own place
    results = list(cut.parent.rglob("result.json"))
    assert len(list(cut.parent.iterdir())) == len(results) == 3, "and the evaluation on other images at its own"


def test_boxes_alone_are_trained_where_they_are_asked_for(source, settings, tmp_path):
    overrides = tuple(override for override in LIGHT if "mask" not in override)
    asked = replace(settings, iterations=1, boxes_only=True, overrides=overrides)
    record = detect(source, 0.5, asked, tmp_path)
    assert set(record["metrics"]) == {f"box/{name}" for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
    assert "masks" not in record["details"]["detector"]["parts"] and set(record["details"]["per_class_AP"]) == {"box"}


def test_two_processes_share_a_batch(source, settings, tmp_path):
    record = detect(source, 0.5, replace(settings, num_gpus=2), tmp_path)
    assert record["details"]["processes"] == 2 and record["details"]["batch"] == 2
    assert record["metrics"]["box/AP"] is not None and (folder_of(settings, tmp_path) / "model_final.pth").is_file()


def test_mistakes_are_found_before_anything_trains(source, settings, tmp_path):
    with pytest.raises(UncalibratedWidthError, match="calibrated widths"):
        detect(source, 0.3, settings, tmp_path)
    with pytest.raises(UserError, match="--eval-only, but .* holds no checkpoint"):
        detect(source, 0.5, replace(settings, eval_only=True), tmp_path)
    assert not list(tmp_path.rglob("model_*.pth"))


def test_a_diverged_training_names_the_step(source, settings, tmp_path):
    overrides = (*LIGHT, "optim_wrapper.optimizer.lr=1e30")
    with pytest.raises(
        NonFiniteLossError, match="resnet18 x 0.5 us3l, iteration [1-4]: .*; last good checkpoint: none"
    ):
        detect(source, 0.5, replace(settings, iterations=5, overrides=overrides), tmp_path)


def test_initial_weights_that_are_code_are_refused_and_not_run(source, settings, tmp_path):
    path, ran = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"state_dict": {}, "meta": Evil(ran)}, path)
    start = ("model.backbone.init_cfg.type=Pretrained", f"model.backbone.init_cfg.checkpoint={path}")
    with pytest.raises(UserError, match="the recipe's init_cfg does not hold what it should: UnpicklingError") as error:
        detect(source, 0.5, replace(settings, overrides=(*LIGHT, *start)), tmp_path / "out")
    assert not ran.exists() and "\n" not in str(error.value)


def test_a_backbone_that_the_recipe_changes_is_refused(source, settings, tmp_path):
    overrides = (*LIGHT, "model.backbone.base_channels=24", "model.neck.in_channels=[24,48,96,192]")
    with pytest.raises(UserError, match="not the one that was converted: .*state_dict") as error:
        detect(source, 0.5, replace(settings, overrides=overrides), tmp_path)
    assert "\n" not in str(error.value)
