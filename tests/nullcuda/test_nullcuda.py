"""What the null device counts, by programs whose numbers are known."""

import subprocess
import sys

import pytest

from tests.nullcuda.program import ROOT, environment, on_null_device
from tests.requirements import requires

pytestmark = requires("nullcuda")


def elementary_operations() -> list[dict]:
    import torch

    from tests.nullcuda import counting

    device = torch.device("cuda")
    host, pinned = torch.ones(1000), torch.ones(1000).pin_memory()
    a, b = torch.ones(64, 64, device=device), torch.ones(64, 64, device=device)

    def counted(call) -> dict:
        counting.reset()
        kept = call()  # noqa: F841, its memory counts
        return vars(counting.counts())

    return [
        counted(call)
        for call in (
            lambda: a + b,
            lambda: a @ b,
            lambda: host.to(device),
            lambda: host.to(device, non_blocking=True),
            lambda: pinned.to(device, non_blocking=True),
            lambda: a.sum().item(),
            lambda: torch.empty(1 << 20, device=device),
            lambda: torch.nn.functional.conv2d(a.view(1, 4, 32, 32), b.view(4, 4, 16, 16), padding=1),
        )
    ]


def test_counts_operations_syncs_copies_and_memory():
    found = on_null_device(elementary_operations)
    operations, syncs, pageable = ([counts[name] for counts in found] for name in ("operations", "syncs", "pageable"))
    #                    add product copy  async  pinned item empty convolution
    assert operations == [1, 1, 1, 1, 1, 2, 0, 1]
    assert syncs == [0, 0, 1, 0, 0, 1, 0, 0]
    assert pageable == [0, 0, 1, 1, 0, 0, 0, 0]  # item() goes through pinned memory
    assert found[6]["peak_bytes"] - found[4]["peak_bytes"] > (4 << 20) - 8192


def values_and_kernels() -> dict:
    import torch

    from tests.nullcuda import counting

    host = torch.arange(12.0)
    returned = host.cuda().cpu()
    counting.reset()
    for _ in range(3):
        returned.cuda().relu()
    most = counting.calls()[0]
    return {"equal": torch.equal(host, returned), "most": most, "name": torch.cuda.get_device_name()}


def test_copies_keep_values_and_kernels_have_names():
    found = on_null_device(values_and_kernels)
    assert found["equal"] and found["name"] == "null device"
    count, kernel = found["most"]
    assert count == 3 and "vectorized_elementwise_kernel" in kernel


def too_large() -> str:
    import torch

    try:
        torch.empty(3 << 30, dtype=torch.uint8, device="cuda")
    except torch.OutOfMemoryError as error:
        return str(error)
    return ""


def test_memory_ends_where_it_is_told_to():
    assert "2.00 GiB" in on_null_device(too_large, gibibytes=2)


def processes() -> int:
    import torch

    return torch.cuda.device_count()


def test_there_are_as_many_devices_as_asked_for():
    assert on_null_device(processes, devices=2) == 2


def reduction(rank: int, folder: str) -> None:
    import json
    from pathlib import Path

    import torch
    import torch.distributed as dist

    from tests.nullcuda import counting

    torch.cuda.set_device(rank)
    device = torch.device("cuda", rank)
    dist.init_process_group("nccl", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    x = torch.ones(1000, device=device)
    dist.all_reduce(x)
    counting.reset()
    dist.all_reduce(x)
    found = counting.counts()
    dist.destroy_process_group()
    (Path(folder) / f"{rank}.json").write_text(json.dumps([found.collectives, found.collective_bytes]))


def test_two_processes_reduce(tmp_path):
    code = f"""
import sys
import tests.nullcuda.counting
from tests.nullcuda.test_nullcuda import reduction
reduction(int(sys.argv[1]), {str(tmp_path)!r})
"""
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen([*command, str(rank)], cwd=ROOT, env=environment(devices=2)) for rank in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert [(tmp_path / f"{rank}.json").read_text() for rank in range(2)] == ["[1, 4000]"] * 2


def fails() -> None:
    raise ValueError("what went wrong")


def test_an_error_is_shown():
    with pytest.raises(AssertionError, match="what went wrong"):
        on_null_device(fails)
