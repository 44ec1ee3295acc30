"""Training checkpoints: the newest whole one is found, whatever happened to the others."""

import pytest
import torch

from pretrain.run.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint


@pytest.fixture
def folder(tmp_path):
    for iteration in (1, 2, 3):
        save_checkpoint(tmp_path, iteration, {"x": torch.tensor(float(iteration))})
    return tmp_path


def test_the_last_two_are_kept_with_their_checksums(folder):
    names = sorted(p.name for p in folder.iterdir())
    assert names == [f"iteration_0000000{i}.{s}" for i in (2, 3) for s in ("pt", "sha256")]
    state = load_checkpoint(newest_checkpoint(folder), torch.device("cpu"))
    assert state["iteration"] == 3 and state["x"] == 3


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no checksum", "empty checksum"])
def test_a_damaged_newest_is_passed_over(folder, damage):
    newest = folder / "iteration_00000003.pt"
    content = bytearray(newest.read_bytes())
    if damage == "truncated":
        newest.write_bytes(content[:-10])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
    elif damage == "no checksum":
        newest.with_suffix(".sha256").unlink()
    else:
        newest.with_suffix(".sha256").write_text("")
    with pytest.warns(UserWarning, match="iteration_00000003.pt is damaged or unfinished"):
        assert newest_checkpoint(folder).name == "iteration_00000002.pt"


def test_nothing_valid_is_none(tmp_path):
    assert newest_checkpoint(tmp_path) is None


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (print, ("harm",))

    path = save_checkpoint(tmp_path, 1, {"x": Harmful()})
    with pytest.raises(Exception, match="Weights only load failed"):
        load_checkpoint(path, torch.device("cpu"))
