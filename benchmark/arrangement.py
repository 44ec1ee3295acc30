"""A configured training step on random images, without data loading: what several benchmarks time."""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.machine import operations
from pretrain.backbones import backbone_options, list_backbones
from pretrain.common.errors import UserError, nearest
from pretrain.config import PretrainConfig, validate
from pretrain.data.loader import LoadedBatch
from pretrain.objectives.step import Batch
from pretrain.run.distributed import World
from pretrain.trainer import Trainer

COUNTED = 4  # images of the step whose operations are counted: they grow in proportion to the batch


def add_step_arguments(parser: argparse.ArgumentParser) -> None:
    """What decides a training step of US3L."""
    parser.add_argument("--backbone", default="resnet18", metavar="NAME", help="default: resnet18")
    parser.add_argument("--stem", default="cifar", metavar="NAME", help="of a ResNet or MobileNetV2 (default: cifar)")
    parser.add_argument("--base-channels", type=int, metavar="C", help="of a ResNet's stem at width 1 (default: 64)")
    parser.add_argument("--image-size", type=int, default=32, metavar="S", help="side in pixels (default: 32)")
    parser.add_argument("--batch", type=int, default=128, metavar="B", help="images in a step (default: 128)")
    parser.add_argument(
        "--width", "--widths", dest="widths", type=float, nargs="+", default=[1.0, 0.625, 0.25], metavar="W",
        help="networks that run in the step, the base first (default: 1 0.625 0.25)",
    )  # fmt: skip
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="default: what the device is good at",
    )


def step_config(args: argparse.Namespace, **training: object) -> PretrainConfig:
    """US3L on the backbone of ``args``. training: settings of that section. UserError for what does not fit."""
    if args.backbone not in list_backbones():
        raise UserError(f"unknown backbone '{args.backbone}'{nearest(args.backbone, list_backbones())}")
    given = {"stem": args.stem, "base_channels": args.base_channels}
    known = backbone_options(args.backbone)
    return validate({
        "data": {"name": "digits", "mean": (0.5,) * 3, "std": (0.25,) * 3, "image_size": args.image_size},
        "backbone": {"name": args.backbone, **{k: v for k, v in given.items() if k in known and v is not None}},
        "sampling": {"widths": tuple(args.widths)},
        "training": {
            "batch_size": args.batch, "chunks": 1, "iterations": 1000, "precision": args.precision, **training,
        },
    })  # fmt: skip


@dataclass
class Arrangement:
    """A trainer, a batch for it, and the widths of its step."""

    trainer: Trainer
    batch: Batch
    widths: list[float]

    def __call__(self) -> None:
        self.trainer.learn(self.batch, self.widths, progress=0.5)


def arrangement(config: PretrainConfig, widths: list[float], device: str) -> Arrangement:
    """Ready to step, on random images that are the same for every arrangement of a batch size."""
    trainer = Trainer(config, World(0, 1, torch.device(device)), config.training.iterations)
    images, count = random_images(config), config.training.batch_size
    batch = trainer.prepare(LoadedBatch(images, torch.zeros(count, dtype=torch.int64), torch.zeros(count, 2).long()))
    return Arrangement(trainer, batch, widths)


def random_images(config: PretrainConfig) -> Tensor:
    """uint8 [B, 2, 3, S, S]."""
    size = config.data.image_size
    shape = (config.training.batch_size, 2, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def step_flops(args: argparse.Namespace) -> float:
    """Floating-point operations of a step (a multiply-add is two): convolutions and products, forward and backward."""
    few = argparse.Namespace(**vars(args) | {"batch": COUNTED, "precision": "fp32"})
    return operations(arrangement(step_config(few), args.widths, "cpu")) * args.batch / COUNTED
