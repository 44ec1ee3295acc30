"""What slimming costs: a forward and backward pass of each width, beside the share of operations that it has.

Two yardsticks: the time at width 1 times the width's share of its operations, and the plain network of the same
channels. The first also counts what small networks lose by themselves, as norms and activations shrink with the width
and convolutions with its square; the second is the price of slicing shared weights alone.
"""

import argparse
from collections.abc import Callable

import torch
from torch import nn

from benchmark.machine import machine, medians
from pretrain.backbones import backbone_options, create_backbone
from pretrain.common.errors import UserError
from pretrain.plain.cost import cost
from pretrain.run.device import lay_out
from pretrain.slimmable.widths import TEN_WIDTHS

EXAMPLE = "--backbone resnet18 --stem cifar --batch 128 --repeats 5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="resnet18", metavar="NAME", help="default: resnet18")
    parser.add_argument("--stem", default="cifar", metavar="NAME", help="of a ResNet or MobileNetV2 (default: cifar)")
    parser.add_argument("--image-size", type=int, default=32, metavar="S", help="side in pixels (default: 32)")
    parser.add_argument("--batch", type=int, default=128, metavar="B", help="images in a pass (default: 128)")
    parser.add_argument(
        "--width", "--widths", dest="widths", type=float, nargs="+", default=list(TEN_WIDTHS), metavar="W",
        help="default: the paper's ten",
    )  # fmt: skip
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="rounds that count (default: 3)")


def measure(args: argparse.Namespace) -> dict:
    """Rows: widths. ``overhead``: summed seconds over what the operations of all widths would take at width 1's rate;
    ``overhead_of_slicing``: over the summed seconds of the plain networks."""
    if min(args.repeats, args.batch) < 1:
        raise UserError("--repeats and --batch take numbers from 1")
    options = {"stem": args.stem} if "stem" in backbone_options(args.backbone) else {}
    backbone = create_backbone(args.backbone, **options)
    widths = sorted({1.0, *args.widths}, reverse=True)
    plain = {width: backbone.plain(backbone.channels(width)) for width in widths}
    macs = {width: cost(module, args.image_size).macs for width, module in plain.items()}
    seconds = measured(backbone, plain, args)
    rows = [
        {
            "width": width, "share_of_operations": macs[width] / macs[1.0], "seconds": seconds[width, "slimmable"],
            "share_of_seconds": seconds[width, "slimmable"] / seconds[1.0, "slimmable"],
            "seconds_of_plain_network": seconds[width, "plain"],
            "of_plain_network": seconds[width, "slimmable"] / seconds[width, "plain"],
        }
        for width in widths
    ]  # fmt: skip
    total = sum(row["seconds"] for row in rows)
    return {
        "title": f"Forward and backward pass of {args.backbone}, batch {args.batch} of {args.image_size} px",
        "rows": rows,
        "overhead": total / (seconds[1.0, "slimmable"] * sum(row["share_of_operations"] for row in rows)),
        "overhead_of_slicing": total / sum(row["seconds_of_plain_network"] for row in rows),
        "repeats": args.repeats, **machine(args.device),
    }  # fmt: skip


def measured(backbone: nn.Module, plain: dict[float, nn.Module], args: argparse.Namespace) -> dict:
    """Median seconds by (width, ``slimmable`` or ``plain``), taking turns; both in the formats of training."""
    device = torch.device(args.device)
    lay_out(backbone, device, "fp32")
    images = torch.randn(args.batch, 3, args.image_size, args.image_size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    calls: dict = {}
    for width, module in plain.items():
        module.to(device, memory_format=torch.channels_last).train()
        calls[width, "slimmable"] = both_passes(lambda width=width: backbone(images, width), backbone)
        calls[width, "plain"] = both_passes(lambda module=module: module(images), module)
    return medians(calls, args.repeats, args.device)


def both_passes(forward: Callable[[], torch.Tensor], module: nn.Module) -> Callable[[], None]:
    """Forward, and backward from the sum of the features into fresh gradients."""

    def call() -> None:
        module.zero_grad()
        forward().sum().backward()

    return call
