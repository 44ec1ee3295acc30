"""The loop: what a run leaves behind, exact resume, and an end with a reason when it diverges."""

import json
import warnings

import pytest
import torch

from pretrain import load_universal
from pretrain.common.errors import NonFiniteLossError, UserError
from pretrain.data.loader import LoadedBatch
from pretrain.run.checkpoint import load_checkpoint, newest_checkpoint
from pretrain.run.distributed import World
from pretrain.train import pretrain
from pretrain.trainer import Trainer, local_chunks
from tests.pretrain.helpers import tiny_config

CPU = torch.device("cpu")


def train(folder, resume=False, **changes):
    return pretrain(tiny_config(**changes), folder, resume, "cpu")


def random_batch() -> LoadedBatch:
    images = torch.randint(0, 256, (8, 2, 3, 32, 32), dtype=torch.uint8)
    return LoadedBatch(images, torch.arange(8) % 10, torch.stack([torch.zeros(8), torch.arange(8)], 1).long())


def final_state(folder) -> dict[str, torch.Tensor]:
    return load_checkpoint(newest_checkpoint(folder / "checkpoints"), CPU)


def assert_same_bytes(a, b):
    """Universal checkpoints byte for byte; every tensor of the training states; the metrics but for seconds."""
    assert (a / "universal.safetensors").read_bytes() == (b / "universal.safetensors").read_bytes()
    one, other = final_state(a), final_state(b)
    assert one["iteration"] == other["iteration"]
    for name, tensor in one["model"].items():
        assert torch.equal(tensor, other["model"][name]), name
    for key, buffers in one["optimizer"]["state"].items():
        assert torch.equal(buffers["momentum_buffer"], other["optimizer"]["state"][key]["momentum_buffer"])
    assert metrics(a) == metrics(b)


def metrics(folder) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second", "waiting")} for line in lines]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run; the settings keep torch's threads fixed at 1."""
    folder = tmp_path_factory.mktemp("finished")
    train(folder)
    return folder


def test_a_run_folder_holds_what_later_work_relies_on(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["objective"]["momentum"] == 0.99
    resolved = {name: config["training"][name] for name in ("iterations", "precision", "threads", "chunks")}
    assert resolved["precision"] in ("fp32", "bf16")
    assert resolved == {"iterations": 9, "precision": resolved["precision"], "threads": 1, "chunks": 1}
    lines = metrics(finished)
    assert [line["iteration"] for line in lines] == [2, 3, 4, 6, 8, 9]
    assert {"iteration", "epoch", "lr", "loss", "base"} <= lines[0].keys()
    assert "distill" not in lines[0] and "distill" in lines[-1]
    assert list(finished.glob("events.out.tfevents.*"))
    net = load_universal(finished / "universal.safetensors")
    assert net.calibrated_widths == [1.0, 0.5]
    assert net.metadata["iterations"] == 9 and net.metadata["calibration"]["batches"] == 2


def test_the_learning_rate_scales_with_the_batch_and_follows_a_cosine(finished):
    first = metrics(finished)[0]
    assert first["lr"] == pytest.approx(0.5 * 8 / 512 * (1 + torch.cos(torch.tensor(torch.pi * 1 / 9)).item()) / 2)


def test_loader_workers_do_not_change_the_bytes(finished, tmp_path):
    train(tmp_path, data={"workers": 2})
    assert_same_bytes(finished, tmp_path)


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(finished, tmp_path):
    train(tmp_path / "same")
    assert_same_bytes(finished, tmp_path / "same")
    train(tmp_path / "other", training={"seed": 1})
    one, other = (load_universal(f / "universal.safetensors").hash for f in (finished, tmp_path / "other"))
    assert one != other


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("at", [1, 4, 8])
def test_a_run_that_ends_anywhere_and_is_resumed_ends_with_the_same_bytes(finished, tmp_path, monkeypatch, at):
    whole = Trainer.step

    def step(self, batch, iteration):
        if iteration == at:
            raise Interrupted
        return whole(self, batch, iteration)

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(Interrupted):
        train(tmp_path)
    monkeypatch.undo()
    train(tmp_path, resume=True)
    assert_same_bytes(finished, tmp_path)


def test_a_damaged_newest_checkpoint_costs_its_iterations_and_nothing_else(finished, tmp_path):
    train(tmp_path)
    newest = newest_checkpoint(tmp_path / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:-1])
    (tmp_path / "universal.safetensors").unlink()
    with pytest.warns(UserWarning, match="is damaged or unfinished"):
        train(tmp_path, resume=True)
    assert_same_bytes(finished, tmp_path)


def test_a_folder_with_a_run_is_not_overwritten(finished):
    with pytest.raises(UserError, match="holds a run already; expected --resume"):
        train(finished)


def test_a_checkpoint_of_other_settings_is_refused(finished):
    with pytest.raises(UserError, match="belongs to another run: optimizer.lr differs"):
        train(finished, resume=True, optimizer={"lr": 0.1})


def test_epochs_are_passes_without_the_dropped_last_batch(finished):
    """40 images in batches of 8: 5 iterations an epoch."""
    assert load_universal(finished / "universal.safetensors").metadata["epochs"] == 9 / 5


def test_a_run_of_one_width(tmp_path):
    train(tmp_path, width_range=(0.5, 0.5), calibration={"widths": (0.5,)})
    assert all("distill" not in line for line in metrics(tmp_path))
    assert load_universal(tmp_path / "universal.safetensors").calibrated_widths == [0.5]


def test_other_threads_are_warned_of():
    config, world = tiny_config(), World(0, 1, CPU)
    trainer = Trainer(config, world, 9)
    state = trainer.state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.load(state)
    with pytest.warns(UserWarning, match="resumed with threads .* instead of 77"):
        trainer.load({**state, "threads": 77})


def test_the_gradient_scalers_state_is_saved_for_fp16(tmp_path):
    trainer = Trainer(tiny_config(training={"precision": "fp16"}), World(0, 1, CPU), 9)
    assert trainer.scaler.is_enabled()
    trainer.step(random_batch(), 0)
    state = trainer.state()["scaler"]
    assert state["scale"] > 0
    again = Trainer(tiny_config(training={"precision": "fp16"}), World(0, 1, CPU), 9)
    again.load({**trainer.state(), "scaler": {**state, "scale": 128.0}})
    assert again.scaler.get_scale() == 128.0


def test_bf16_follows_fp32(tmp_path):
    batch, losses = random_batch(), []
    for precision in ("fp32", "bf16"):
        trainer = Trainer(tiny_config(training={"precision": precision}), World(0, 1, CPU), 9)
        losses.append(sum(t.value.item() for t in trainer.step(batch, 8)))
    assert losses[0] == pytest.approx(losses[1], rel=0.05) and losses[0] != losses[1]


def test_a_loss_that_is_not_finite_stops_the_run_with_step_width_and_last_good_checkpoint(tmp_path, monkeypatch):
    whole = Trainer.step

    def step(self, batch, iteration):
        terms = whole(self, batch, iteration)
        if iteration == 6:
            terms[1] = terms[1]._replace(value=torch.tensor(float("nan")))
        return terms

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(
        NonFiniteLossError, match=r"distill loss of width 0.8\d* became non-finite at iteration 6; .*_00000006.pt"
    ):
        train(tmp_path)
    assert newest_checkpoint(tmp_path / "checkpoints").name == "iteration_00000006.pt"


def test_weights_that_are_not_finite_are_never_saved(tmp_path, monkeypatch):
    whole = Trainer.step

    def step(self, batch, iteration):
        terms = whole(self, batch, iteration)
        if iteration == 3:
            self.model.aux_head.linears[0].weight.data.fill_(float("inf"))
        return terms

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(NonFiniteLossError, match=r"weights became non-finite by iteration 4; .*_00000002.pt"):
        train(tmp_path)


def test_chunks_are_dealt_out_to_processes():
    config = tiny_config(training={"chunks": 4})
    assert local_chunks(config, World(0, 2, CPU)) == 2
    assert local_chunks(tiny_config(), World(0, 2, CPU)) == 1
    with pytest.raises(UserError, match="chunks is 4 for 3 processes; expected a multiple of 3"):
        local_chunks(config, World(0, 3, CPU))


def test_the_loss_falls_on_digits(tmp_path):
    train(
        tmp_path, data={"images_per_class": 13, "views": {"crop_scale": (0.9, 1.0), "flip": 0.0, "jitter_p": 0.0}},
        optimizer={"lr": 4.0}, objective={"hidden": 64, "outputs": 32},
        training={"iterations": 40, "batch_size": 32, "log_interval": 5, "checkpoint_interval": 40},
    )  # fmt: skip
    lines = metrics(tmp_path)
    assert lines[-1]["base"] < lines[0]["base"] - 0.1
    assert lines[-1]["distill"] < lines[2]["distill"] - 0.1
