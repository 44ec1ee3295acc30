"""Checkpoints of a detection training: whole, finite, of this detector, and nothing that runs."""

import pickle

import pytest
import torch

from pretrain.common.errors import NonFiniteLossError, UserError
from pretrain.common.files import file_hash
from pretrain.run.ownership import FILE_NAME, owned
from tests.transfer.detection.conftest import Evil
from transfer.detection import checkpoints


@pytest.fixture(autouse=True)
def owner(tmp_path):
    """The folder of a checkpoint is its writer's."""
    with owned(tmp_path):
        yield


@pytest.fixture
def model():
    torch.manual_seed(0)
    return torch.nn.Linear(2, 3)


def test_the_last_whole_checkpoint_is_found(model, tmp_path):
    for iteration in (2, 4, 6):
        checkpoints.save(tmp_path, iteration, {"model": model.state_dict()}, "a detector")
    newest = checkpoints.newest(tmp_path)
    assert newest.name == "iteration_00000006.pt" and checkpoints.load(newest)["iteration"] == 6
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoints.newest(tmp_path).name == "iteration_00000004.pt"
    (tmp_path / "checkpoints/iteration_00000004.sha256").write_text("")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(UserError, match="all 2 checkpoints .* are damaged"):
        checkpoints.newest(tmp_path)
    assert checkpoints.newest(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_the_last_good_ones(model, tmp_path, value):
    good = checkpoints.save(tmp_path, 2, {"model": model.state_dict()}, "a detector")
    model.weight.data[1, 1] = value
    with pytest.raises(NonFiniteLossError, match=f"a detector, iteration 3: weight is not finite; .*: {good}$"):
        checkpoints.save(tmp_path, 4, {"model": model.state_dict()}, "a detector")
    assert checkpoints.newest(tmp_path) == good


def test_who_has_lost_the_folder_saves_nothing(model, tmp_path):
    (tmp_path / FILE_NAME).unlink()
    state = {"model": model.state_dict()}
    for save in (
        lambda: checkpoints.save(tmp_path, 2, state, "a detector"),
        lambda: checkpoints.save_final(tmp_path, state),
    ):
        with pytest.raises(UserError, match=r"has lost its \.owner\.json; .* nothing more is written"):
            save()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_strangers_checkpoint_runs_nothing(tmp_path, protocol):
    path = tmp_path / "checkpoints/iteration_00000001.pt"
    path.parent.mkdir()
    ran = tmp_path / "ran"
    if protocol == 2:
        torch.save({"model": {}, "trainer": Evil(ran)}, path)
    else:
        path.write_bytes(pickle.dumps({"model": {}, "trainer": Evil(ran)}, protocol))
    path.with_suffix(".sha256").write_text(f"{file_hash(path)}  {path.name}\n")
    with pytest.raises(UserError, match="iteration_00000001.pt cannot be read as a checkpoint: ") as error:
        checkpoints.load(checkpoints.newest(tmp_path))
    assert not ran.exists() and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[1, 2], {"weights": {}}, {"model": 3}])
def test_another_file_is_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match="holds no (whole )?state of (such )?"):
        checkpoints.load(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "state", [{"weight": torch.zeros(3, 2)}, {"weight": torch.zeros(9, 2), "bias": torch.zeros(3)}]
)
def test_another_detectors_weights_are_refused(model, state):
    with pytest.raises(
        UserError, match="the checkpoint's detector does not hold what it should: RuntimeError: "
    ) as error:
        checkpoints.load_weights(model, {"model": state})
    assert "\n" not in str(error.value)
