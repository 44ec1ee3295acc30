"""Images a second per core of the augmentation, two views each, beside torchvision's transforms on PIL images.

Photographs begin as the bytes of their files, small images decoded (both keep them so in training); either ends as a
normalised batch. One thread, unless ``--threads`` says otherwise. With ``--index`` the index of so many files instead.
"""

import argparse
import statistics
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

from benchmark.index import LAYOUTS, measure_index
from benchmark.machine import machine, timed
from pretrain.common.cli import check_least
from pretrain.common.errors import UserError
from pretrain.common.repository import CONFIGS
from pretrain.config import load_config
from pretrain.data.images.datasets import TensorImages, image_dataset
from pretrain.data.images.memory import in_memory
from pretrain.data.loader import CutViews, LoadedBatch, coloured_views
from pretrain.sections import DataSettings

EXAMPLE = "--image-size 224 --data datasets/imagenet"
SMALL, LARGE = (CONFIGS / "pretrain" / name for name in ("us3l_resnet18_cifar10.py", "us3l_resnet50_imagenet.py"))
LARGEST_SMALL = 64  # px: up to here the embedded digits can stand for the data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        help="whose views and normalisation (default: CIFAR-10's up to 64 px, ImageNet's above)",
    )  # fmt: skip
    parser.add_argument("--image-size", type=int, metavar="S", help="side in px (default: the config's)")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="root of the data (default: digits, up to 64 px)")
    parser.add_argument("--decode", choices=("full", "reduced"), default="full", help="of ours (default: full)")
    parser.add_argument("--index", type=int, metavar="N", help="measure the index of N images instead")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, help="of the index (default: all)")
    parser.add_argument("--images", type=int, default=64, metavar="N", help="images of a repeat (default: 64)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of which medians are taken (default: 5)")


def measure(args: argparse.Namespace) -> dict:
    """Rates of both arrangements and the shares of ours; see the module. UserError for data that is not there."""
    if args.index is not None:
        return measure_index(args.index, args.device, args.layouts)
    torch.set_num_threads(args.threads or 1)
    data = load_config(args.config or _default_config(args.image_size), []).data
    size = args.image_size or data.image_size
    check_least(argparse.Namespace(**vars(args) | {"image_size": size}), image_size=8, images=1, repeats=1)
    dataset = _dataset(data, args.data, size)
    indices = [i % len(dataset) for i in range(args.images)]
    on_pil, ours = OnPil(dataset, data, size, indices), Ours(dataset, data, size, indices, args.device, args.decode)
    on_pil.run(), ours.run(0)  # warm-up: the first pass reads files and allocates
    times = [(timed(on_pil.run, "cpu"), *ours.run(repeat)) for repeat in range(1, args.repeats + 1)]
    pil, decode, geometry, colour = (statistics.median(column) for column in zip(*times, strict=True))
    total = decode + geometry + colour
    cores = torch.get_num_threads()
    return {
        "title": f"Images a second per core, two views of {size} px each",
        "rows": [
            {"arrangement": "torchvision on PIL images", "images_per_second": args.images / pil / cores, "ratio": 1.0},
            {"arrangement": "ours", "images_per_second": args.images / total / cores, "ratio": pil / total},
        ],
        "shares_of_ours_percent": {
            "decode": 100 * decode / total, "geometry": 100 * geometry / total, "colour": 100 * colour / total,
        },
        "images": args.images, "repeats": args.repeats, "image_size": size, "decode": args.decode,
        "data": str(args.data or "digits"), **machine(args.device),
    }  # fmt: skip


def _default_config(image_size: int | None) -> Path:
    return SMALL if image_size is None or image_size <= LARGEST_SMALL else LARGE


def _dataset(data: DataSettings, root: Path | None, size: int) -> Dataset:
    if root is not None:
        return in_memory(image_dataset(data.name, root))
    if size > LARGEST_SMALL:
        raise UserError(f"--image-size {size} needs photographs; expected --data ROOT with train/<class>/*.jpg")
    return in_memory(image_dataset("digits", image_size=size))


class OnPil:
    """torchvision's v2 transforms, on PIL images, view by view."""

    def __init__(self, dataset: Dataset, data: DataSettings, size: int, indices: list[int]):
        self.dataset, self.indices, self.pictures = dataset, indices, None
        if isinstance(dataset, TensorImages):
            self.pictures = [V.to_pil_image(dataset[i][0]) for i in indices]
        self.transforms = [
            v2.Compose([
                view.transform(size), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(data.mean), list(data.std)),
            ])
            for view in _both(data)
        ]  # fmt: skip

    def run(self) -> list[Tensor]:
        views = [[transform(picture) for transform in self.transforms] for picture in self._opened()]
        return [torch.stack(view) for view in zip(*views, strict=True)]

    def _opened(self) -> Iterable:
        return self.pictures or (Image.open(BytesIO(self.dataset.encoded(i))).convert("RGB") for i in self.indices)


class Ours:
    """What the training loop does; ``run`` gives the seconds of decoding, geometry and colours."""

    def __init__(self, dataset: Dataset, data: DataSettings, size: int, indices: list[int], device: str, decode: str):
        self.data, self.augmentations, self.device, self.indices = data, _both(data), device, indices
        self.loader = CutViews(dataset, self.augmentations, size, seed=0, decode=decode)

    def run(self, epoch: int) -> tuple[float, float, float]:
        keys, loaded = [(epoch, i) for i in self.indices], []
        decode = 0.0
        if not isinstance(self.loader.dataset, TensorImages):
            decode = timed(lambda: [None for _ in self.loader.decoded(torch.tensor(keys), [])], "cpu")
        load = timed(lambda: loaded.append(self.loader.__getitems__(keys)), "cpu")
        colour = timed(lambda: self.finish(loaded[0]), self.device)
        return decode, load - decode, colour

    def finish(self, batch: LoadedBatch) -> list[Tensor]:
        return coloured_views(batch.to(torch.device(self.device)), self.augmentations, 0, self.data.mean, self.data.std)


def _both(data: DataSettings) -> list:
    return [data.views, data.second_views or data.views]
