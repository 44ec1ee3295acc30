"""What docs/performance.md predicts for GPUs, measured on this machine in some ten minutes and written beside it.

Of ResNet-50 on 224 px images: seconds of a step of each stage of dynamic sampling with the share of it that the host
spends launching, peak memory, waits of the host, views a second of the data path, and, where there are two GPUs, the
step of two processes beside one. Writes a JSON file; sends nothing anywhere.
"""

import argparse
import json
import os
import statistics
import time
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing

from benchmark.launches import CLASSES, random_batch
from benchmark.machine import machine
from pretrain.common.errors import UserError
from pretrain.common.repository import CONFIGS
from pretrain.config import load_config
from pretrain.configfile import Address
from pretrain.run.device import choose_kernels
from pretrain.run.distributed import World
from pretrain.run.membership import free_port
from pretrain.run.memory import peak_bytes
from pretrain.sampling import STAGES
from pretrain.trainer import Trainer

EXAMPLE = "--output docs/gpu_measured.json --batch 64"
CONFIG = CONFIGS / "pretrain" / "us3l_resnet50_imagenet.py"
BUDGET = 600.0  # seconds in all; a part that begins later is left out, and said so
WARM_UP = 3  # steps; cuDNN chooses its algorithms, torch's allocator finds its blocks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, default=64, metavar="B", help="images of a GPU in a step (default: 64)")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="steps that count (default: 10)")
    parser.add_argument("--output", type=Path, default=Path("gpu_measured.json"), metavar="FILE", help="what to write")


def measure(args: argparse.Namespace) -> dict:
    """Rows: steps, of one GPU and of two. Errors: UserError without a GPU."""
    if not args.device.startswith("cuda"):
        raise UserError("tools/benchmark.py gpu measures GPUs, and torch sees none; launches counts without one")
    begun, rows = time.perf_counter(), []
    for name, overrides in arrangements(args.batch).items():
        if time.perf_counter() - begun > BUDGET:
            warnings.warn(f"{name} was left out: {BUDGET:.0f} s have passed", stacklevel=2)
            continue
        rows += [{"arrangement": name, **row} for row in steps(overrides, args.repeats, World(0, 1, device(0)))]
    if torch.cuda.device_count() > 1 and time.perf_counter() - begun < BUDGET:
        rows += [{"arrangement": "two GPUs", **row} for row in two_gpus(args)]
    found = {
        "title": "ResNet-50 on GPUs, as measured", "rows": rows, "batch": args.batch,
        "views_per_second_and_gpu": views_per_second(args.batch), "seconds": round(time.perf_counter() - begun, 1),
        **machine(args.device), "gpus": torch.cuda.device_count(),
    }  # fmt: skip
    args.output.write_text(json.dumps(found, indent=2) + "\n")
    return found | {"written": str(args.output)}


def arrangements(batch: int) -> dict[str, list[str]]:
    """Overrides of the config by name."""
    base = [f"training.batch_size={batch}", "training.chunks=1"]
    return {
        "default": base,
        "not deterministic": [*base, "training.deterministic=False"],
        "graphs": [*base, "training.compile=graphs"],
        "low memory": [*base, "training.memory=low"],
        "8 times the batch, low memory": [
            f"training.batch_size={8 * batch}", "training.chunks=8", "training.memory=low"
        ],
    }  # fmt: skip


def device(rank: int) -> torch.device:
    return torch.device("cuda", rank)


def steps(overrides: list[str], repeats: int, world: World) -> list[dict]:
    """A row for each stage. host_ms: until the host has asked for all of a step, which is what launching takes."""
    config = load_config(Address(CONFIG), overrides)
    choose_kernels(world.device, config.training.deterministic)
    trainer = Trainer(config, world, iterations=STAGES * 1000, classes=CLASSES)
    batch = random_batch(config.training.batch_size // world.size, trainer.model.num_views, config.data.image_size)
    rows = []
    for stage in range(STAGES):
        torch.cuda.empty_cache()  # what an earlier stage left ready is no need of this one
        torch.cuda.reset_peak_memory_stats()
        wholes, hosts = [], []
        for repeat in range(WARM_UP + repeats):
            torch.cuda.synchronize()
            start = time.perf_counter()
            trainer.step(batch, stage * 1000 + repeat)
            hosts.append(time.perf_counter() - start)
            torch.cuda.synchronize()
            wholes.append(time.perf_counter() - start)
        rows.append({
            "stage": stage, "step_ms": 1e3 * statistics.median(wholes[WARM_UP:]),
            "host_ms": 1e3 * statistics.median(hosts[WARM_UP:]), "syncs": waits(trainer, batch, stage * 1000),
            "peak_gib": peak_bytes(trainer.config.training, trainer.world.device) / 2**30,
        })  # fmt: skip
    return rows


def waits(trainer: Trainer, batch, iteration: int) -> int:
    """Times that torch sees the host wait for the device in a step."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        trainer.step(batch, iteration)
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(one.message) for one in warned)


def views_per_second(batch: int) -> float:
    """Coloured and normalised on the GPU, from pinned memory."""
    config = load_config(Address(CONFIG), arrangements(batch)["default"])
    trainer = Trainer(config, World(0, 1, device(0)), iterations=1000, classes=CLASSES)
    loaded, seconds = random_batch(batch, 2, config.data.image_size), []
    for _ in range(WARM_UP + 10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        trainer.prepare(loaded)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * batch / statistics.median(seconds[WARM_UP:])


def two_gpus(args: argparse.Namespace) -> list[dict]:
    """Rows of the first of two processes with ``args.batch`` images each."""
    port = free_port()
    answer = args.output.with_suffix(".two")
    torch.multiprocessing.spawn(_process, (port, args.batch, args.repeats, str(answer)), nprocs=2)
    rows = json.loads(answer.read_text())
    answer.unlink()
    return rows


def _process(rank: int, port: int, batch: int, repeats: int, answer: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.cuda.set_device(rank)
    dist.init_process_group("nccl", rank=rank, world_size=2, device_id=device(rank))
    overrides = [f"training.batch_size={2 * batch}", "training.chunks=2"]
    rows = steps(overrides, repeats, World(rank, 2, device(rank)))
    if rank == 0:
        Path(answer).write_text(json.dumps(rows))
    dist.destroy_process_group()
