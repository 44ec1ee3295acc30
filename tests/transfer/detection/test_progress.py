"""metrics.jsonl of a detection training, which status reads."""

import json

import pytest

from pretrain.common.errors import UserError
from pretrain.run.ownership import owned
from transfer.detection.progress import FILE_NAME, ProgressFile


def lines(folder):
    return [json.loads(line) for line in (folder / FILE_NAME).read_text().splitlines()]


@pytest.mark.parametrize("tail", ["", '{"iteration": 3, "lo'])
def test_lines_of_iterations_that_are_trained_again_are_cut(tmp_path, tail):
    text = "".join(f'{{"iteration": {i}, "seconds": {10 * i}}}\n' for i in range(1, 5))
    (tmp_path / FILE_NAME).write_text(text + tail)
    progress = ProgressFile(tmp_path, 2, 40)
    assert [line["iteration"] for line in lines(tmp_path)] == [1, 2]
    with owned(tmp_path):
        progress.write(3, {"loss": 1.5})
    last = lines(tmp_path)[-1]
    assert (last["iteration"], last["iterations"], last["loss"]) == (3, 40, 1.5)
    assert 20 <= last["seconds"] < 25  # those of before count


def test_a_new_training_starts_without_lines(tmp_path):
    with owned(tmp_path):
        ProgressFile(tmp_path, 0, 10).write(1, {"loss": 0.5})
    assert [line["iterations"] for line in lines(tmp_path)] == [10]


def test_who_has_lost_the_folder_writes_no_line(tmp_path):
    with pytest.raises(UserError, match="nothing more is written"):
        ProgressFile(tmp_path, 0, 10).write(1, {"loss": 0.5})
    assert not list(tmp_path.iterdir())
