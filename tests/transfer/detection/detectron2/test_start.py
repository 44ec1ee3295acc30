"""Where a detector starts: tensors alone, unless a file is trusted."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from pretrain.common.errors import UserError
from tests.requirements import requires
from tests.transfer.detection.test_checkpoints import Evil

pytestmark = requires("detection")


@pytest.fixture
def load():
    from transfer.detection.detectron2.start import load_start

    return load_start


@pytest.mark.parametrize("kind", ["pth", "wrapped", "safetensors"])
def test_weights_are_loaded_by_name(load, tmp_path, kind):
    model, weights = torch.nn.Linear(2, 3), {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    path = tmp_path / f"start.{'safetensors' if kind == 'safetensors' else 'pth'}"
    if kind == "safetensors":
        save_file(weights, path)
    else:
        torch.save({"model": weights} if kind == "wrapped" else weights, path)
    load(model, str(path), trust=False)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("suffix", ["pkl", "pth", "pyth"])
def test_a_file_that_may_run_code_is_refused_unless_it_is_trusted(load, tmp_path, suffix):
    path, ran = tmp_path / f"evil.{suffix}", tmp_path / "ran"
    content = {"model": {}, "__author__": "a stranger", "more": Evil(ran)}
    torch.save(content, path) if suffix == "pth" else path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=f"evil.{suffix} .*may run code when .*--trust") as error:
        load(torch.nn.Linear(2, 3), str(path), trust=False)
    assert not ran.exists() and "\n" not in str(error.value)
    if suffix == "pkl":
        load(torch.nn.Linear(2, 3), str(path), trust=True)
        assert ran.exists()


@pytest.mark.parametrize("name", ["nothing.pth", "empty.pth", "text.safetensors"])
def test_what_cannot_be_read_is_one_line(load, tmp_path, name):
    if name != "nothing.pth":
        (tmp_path / name).write_text("" if name.startswith("empty") else "text")
    with pytest.raises(UserError, match=f"initial weights .*{name} ") as error:
        load(torch.nn.Linear(2, 3), str(tmp_path / name), trust=False)
    assert "\n" not in str(error.value)
