"""``tools/transfer.py digits`` and ``folder``."""

from pathlib import Path

import pytest

from pretrain.common.errors import UncalibratedWidthError, UserError
from tests.programs import tool
from transfer import command
from transfer.results import read_results


def run(target: str, *argv: str) -> None:
    command.main([target, *argv])


@pytest.fixture
def checkpoint(network, tmp_path):
    return network.save(tmp_path / "run" / "universal.safetensors")


def test_results_go_beside_the_checkpoint_and_their_paths_are_printed(checkpoint, image_folder, capsys):
    run(
        "folder",
        "--checkpoint",
        str(checkpoint),
        "--data",
        str(image_folder),
        "--widths",
        "1",
        "0.5",
        "--protocol",
        "knn",
    )
    output = checkpoint.parent / "transfer"
    assert [record["width"] for record in read_results(output)] == [1.0, 0.5]
    printed = capsys.readouterr().out
    assert str(checkpoint) in printed.splitlines()[0]
    last = Path(printed.splitlines()[-1])
    assert last.is_file() and last.parents[1] == output / "photos" / "knn" / "width_0.5"


def test_random_weights_and_overrides(checkpoint, image_folder, tmp_path):
    run(
        "folder", "neighbours=2", "--checkpoint", str(checkpoint), "--data", str(image_folder), "--init", "random",
        "--width", "0.25", "--protocol", "knn", "--output", str(tmp_path / "out"), "--name", "photographs",
    )  # fmt: skip
    [record] = read_results(tmp_path / "out")
    assert (record["method"], record["dataset"], record["details"]["neighbours"]) == ("random", "photographs", 2)


def test_an_uncalibrated_width_is_refused_before_any_image_is_read(checkpoint, tmp_path):
    with pytest.raises(UncalibratedWidthError, match=r"width 0\.7 is not calibrated; calibrated widths: 1, 0\.5"):
        run("folder", "--checkpoint", str(checkpoint), "--data", str(tmp_path / "absent"), "--width", "0.7")


def test_a_folder_must_be_named(checkpoint):
    with pytest.raises(UserError, match="needs --data"):
        run("folder", "--checkpoint", str(checkpoint))


def test_features_are_kept_beside_the_results_or_where_or_not_at_all(checkpoint, image_folder, tmp_path):
    common = ("--checkpoint", str(checkpoint), "--data", str(image_folder), "--width", "0.5", "--protocol", "knn")
    run("folder", *common, "--output", str(tmp_path / "a"))
    run("folder", *common, "--output", str(tmp_path / "b"), "--cache", str(tmp_path / "kept"))
    run("folder", *common, "--output", str(tmp_path / "c"), "--no-cache")
    kept = [len(list(tmp_path.glob(pattern))) for pattern in ("a/features/*.npy", "kept/*.npy", "[bc]/**/*.npy")]
    assert kept == [2, 2, 0], "training and test images"
    metrics = [read_results(tmp_path / name)[0]["metrics"] for name in "abc"]
    assert metrics[0] == metrics[1] == metrics[2]
    with pytest.raises(UserError, match="contradict"):
        run("folder", *common, "--cache", str(tmp_path / "kept"), "--no-cache")


def test_missing_data_are_one_line_and_write_nothing(checkpoint, tmp_path):
    output = tmp_path / "out"
    for target in ("cifar100", "flowers", "pets", "dtd", "imagenet"):
        with pytest.raises(UserError, match=f"no {target} in .*; "):
            run(
                target,
                "--checkpoint",
                str(checkpoint),
                "--data",
                str(tmp_path),
                "--output",
                str(output),
                "--width",
                "1",
            )
    assert not list(tmp_path.glob("out/**/*.json"))


def test_only_what_torchvision_has_can_be_downloaded(checkpoint, image_folder):
    with pytest.raises(UserError, match="--download: imagenet is nothing that torchvision fetches"):
        run("imagenet", "--download", "--checkpoint", str(checkpoint), "--data", str(image_folder))


def test_cifar_as_folders_is_named_after_the_target(checkpoint, image_folder, tmp_path):
    (image_folder / "val").rename(image_folder / "test")
    common = ("--checkpoint", str(checkpoint), "--data", str(image_folder), "--width", "0.5", "--no-cache")
    run("cifar10", *common, "--protocol", "knn", "--output", str(tmp_path / "out"))
    assert len(list((tmp_path / "out" / "cifar10" / "knn" / "width_0.5").glob("seed_0-*/result.json"))) == 1


def test_digits_by_the_tool_itself(checkpoint, tmp_path):
    options = ["--width", 0.5, "--batch", 512, "epochs=1", "num_views=1", "--output", "out"]
    done = tool("transfer", "digits", "--checkpoint", checkpoint, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    accuracies = {record["task"]: record["metrics"]["top1"] for record in read_results(tmp_path / "out" / "digits")}
    assert set(accuracies) == {"linear", "knn"} and min(accuracies.values()) > 30, "chance is 10 %"
