"""Several processes compute what one computes: chunk by chunk by default, or over the whole batch."""

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.objectives.step import Batch
from pretrain.objectives.us3l import US3L, US3LSettings
from pretrain.run.distributed import World, all_gather, join_world, own_gpu, same_in_all
from pretrain.slimmable.calibrate import calibrate
from pretrain.slimmable.norms.statistics import SynchronisedStatistics
from pretrain.slimmable.ops import SlimBatchNorm
from pretrain.train import pretrain
from pretrain.universal import load_universal
from tests.pretrain.helpers import tiny_config
from tests.pretrain.processes import run_processes

STAGES = pytest.mark.parametrize("widths", [[1.0], [1.0, 0.25, 0.6]], ids=["stage 0", "later stages"])


def views() -> torch.Tensor:
    return torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def model(chunks: int, options: dict) -> US3L:
    torch.manual_seed(0)
    settings = US3LSettings(hidden=16, outputs=8, **options)
    return US3L(create_backbone("resnet18", base_channels=8), settings, chunks).double()


def gradients(net: torch.nn.Module, x: torch.Tensor, widths: list[float]) -> dict[str, torch.Tensor]:
    torch.stack([t.value for t in net(Batch((x[0], x[1]), torch.zeros(len(x[0]))), widths).terms]).sum().backward()
    return {n.removeprefix("module."): p.grad for n, p in net.named_parameters() if p.requires_grad}


def gradients_of_process(rank: int, options: dict, widths: list[float]) -> dict[str, torch.Tensor]:
    """Two steps under DistributedDataParallel: it reports an unused parameter of the first in the second."""
    net = DistributedDataParallel(model(1, options))
    part = views()[:, 4 * rank : 4 * rank + 4]
    gradients(net, part, widths)
    net.zero_grad()
    return gradients(net, part, widths)


@STAGES
@pytest.mark.parametrize(
    ("options", "chunks"),
    [({}, 2), ({"gather": True, "sync_norms": True}, 1)],
    ids=["chunks=2", "gathered negatives and synchronised norms"],
)
def test_two_processes_give_the_gradients_of_one(options, chunks, widths):
    expected = gradients(model(chunks, options), views(), widths)
    for got in run_processes(gradients_of_process, 2, options, widths):
        assert got.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(got[name], expected[name], rtol=1e-9, atol=1e-12, msg=name)


def test_whole_batch_losses_differ_from_chunked_ones():
    """The two modes above are two modes."""
    chunked, whole = (gradients(model(c, {}), views(), [1.0])["backbone.conv1.weight"] for c in (2, 1))
    assert not torch.allclose(chunked, whole, rtol=1e-3)


def gathered_rows(rank: int) -> tuple:
    y = torch.full((1, 2), float(rank)).requires_grad_()
    rows = all_gather(y)
    (rows * torch.tensor([[1.0], [10.0]])).sum().backward()
    return rows.detach(), y.grad


def test_rows_of_all_processes_are_gathered_with_their_gradient():
    for rank, (rows, y_grad) in enumerate(run_processes(gathered_rows, 2)):
        assert rows.tolist() == [[0.0, 0.0], [1.0, 1.0]]
        assert y_grad.tolist() == [[2 * 10.0**rank] * 2]  # both processes compute the same loss


def agreements(rank: int) -> tuple[bool, bool]:
    world = World(rank, 2, torch.device("cpu"))
    return same_in_all(7, world), same_in_all(rank, world)


def test_processes_notice_that_they_differ():
    assert run_processes(agreements, 2) == [(True, False)] * 2


def synchronised(rank: int) -> torch.Tensor:
    x = views()[0, 4 * rank : 4 * rank + 4]
    return SynchronisedStatistics()(SlimBatchNorm(3).double(), x)


def test_synchronised_norms_normalise_over_all_processes():
    x = views()[0]
    expected = torch.nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(torch.cat(run_processes(synchronised, 2)), expected)


def calibrated(rank: int) -> dict:
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", base_channels=8)
    batches = [views()[i, j : j + 4].float() for i in (0, 1) for j in (0, 4)]
    return calibrate(backbone, batches[rank :: dist.get_world_size()] if dist.is_initialized() else batches, [0.5])


def test_calibration_pools_over_processes():
    (alone,) = calibrated(0).values()
    for found in run_processes(calibrated, 2):
        (pooled,) = found.values()
        for name in alone:
            torch.testing.assert_close(pooled[name], alone[name])


def pretrained(rank: int, folder: Path, **training) -> str:
    """In float64: fp32 sums differ in their last bits, which a norm over 4 samples amplifies from step to step."""
    torch.set_default_dtype(torch.float64)
    try:
        config = tiny_config(training={"iterations": 8, **training})
        return str(pretrain(config, folder, resume=False, device="cpu"))
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_run_of_two_processes_through_all_stages(tmp_path):
    """Every stage trains under DistributedDataParallel; the result is that of one process with two chunks."""
    first, second = run_processes(pretrained, 2, tmp_path / "two")
    assert first == second
    one = pretrained(0, tmp_path / "one", chunks=2)
    assert load_universal(first).calibrated_widths == load_universal(one).calibrated_widths
    logs = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("one", "two")]
    for a, b in zip(*(map(json.loads, log) for log in logs), strict=True):
        assert a["iteration"] == b["iteration"]
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


@pytest.mark.parametrize(("local_rank", "seen", "own"), [(0, 1, 0), (3, 8, 3), (3, 1, 0), (3, 2, None), (0, 0, None)])
def test_a_process_has_a_gpu_of_its_own_or_the_one_that_it_sees(monkeypatch, local_rank, seen, own):
    monkeypatch.setattr("torch.cuda.device_count", lambda: seen)
    if own is None:
        with pytest.raises(UserError, match=f"process {local_rank} of this machine needs .* but torch sees {seen}"):
            own_gpu(local_rank)
    else:
        assert own_gpu(local_rank) == own


def test_a_group_without_an_address_is_one_line(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="MASTER_ADDR and MASTER_PORT are not both set"):
        join_world("cpu")
