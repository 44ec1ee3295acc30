"""Training checkpoints: the newest whole one is found, whatever happened to the others."""

import pytest
import torch

from pretrain.common.errors import UserError
from pretrain.run.checkpoint import load_checkpoint, newest_checkpoint, resumable_checkpoint, save_checkpoint


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
    with pytest.raises(UserError, match="cannot be read as a checkpoint: Weights only load failed") as error:
        load_checkpoint(path, torch.device("cpu"))
    assert "\n" not in str(error.value)


def test_every_truncation_and_every_flipped_byte_is_noticed(folder):
    """50 lengths and 50 bytes, of the file and of its checksum, which may be no text at all."""
    newest = folder / "iteration_00000003.pt"
    for path in (newest, newest.with_suffix(".sha256")):
        whole = path.read_bytes()
        for k in range(50):
            damaged = bytearray(whole)
            damaged[k * len(whole) // 50 % 64 if path != newest else k * len(whole) // 50] ^= 0x80
            for content in (whole[: k * len(whole) // 50], bytes(damaged)):
                path.write_bytes(content)
                if path == newest or len(content) < 64 or content[:64] != whole[:64]:
                    with pytest.warns(UserWarning, match="damaged or unfinished"):
                        assert newest_checkpoint(folder).name == "iteration_00000002.pt"
        path.write_bytes(whole)
    assert newest_checkpoint(folder) == newest


def test_damaged_newer_files_do_not_displace_whole_ones(folder):
    for name in ("iteration_00000008.pt", "iteration_00000009.pt"):
        (folder / name).write_bytes(b"damaged")
    save_checkpoint(folder, 4, {"x": torch.tensor(4.0)})
    assert sorted(p.name for p in folder.glob("*.pt")) == ["iteration_00000003.pt", "iteration_00000004.pt"]
    (folder / "iteration_00000003.pt").write_bytes(b"damaged too")
    save_checkpoint(folder, 5, {"x": torch.tensor(5.0)})
    assert sorted(p.name for p in folder.glob("*.pt")) == ["iteration_00000004.pt", "iteration_00000005.pt"]
    assert sorted(p.stem for p in folder.glob("*.sha256")) == ["iteration_00000004", "iteration_00000005"]


def test_files_of_others_are_left_alone(folder):
    mine = folder / "iteration_best.pt"
    mine.write_text("mine")
    save_checkpoint(folder, 4, {})
    assert mine.read_text() == "mine"


def test_only_damaged_ones_are_refused_where_a_run_would_go_on(folder, tmp_path_factory):
    for path in folder.glob("*.pt"):
        path.write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(UserError, match="all 2 checkpoints in .* are damaged"):
        resumable_checkpoint(folder)
    assert resumable_checkpoint(tmp_path_factory.mktemp("empty")) is None


def test_the_bytes_tell_nothing_of_the_process_that_wrote_them(tmp_path):
    state = {"x": torch.arange(5.0)}
    assert (
        save_checkpoint(tmp_path / "a", 1, state).read_bytes() == save_checkpoint(tmp_path / "b", 1, state).read_bytes()
    )
