"""detectron2's loaders over the stream of images and batches of ``transfer.detection.stream``."""

import torch
from detectron2.config import instantiate
from detectron2.data.common import DatasetFromList
from detectron2.data.detection_utils import SizeMismatchError
from detectron2.utils import comm
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pretrain.common.errors import UserError
from pretrain.data.images.decode import FORMATS
from transfer.detection.stream import BatchStream, Place, numpy_seed


class ReadableImages:
    """detectron2's mapper; what it cannot read, or what is in none of ``FORMATS``, is refused by the file's name."""

    def __init__(self, mapper):
        self.mapper = mapper

    def __call__(self, record: dict) -> dict:
        try:
            with Image.open(record["file_name"], formats=FORMATS):
                pass  # the mapper lets Pillow choose among all formats, of which PostScript would start a program
            return self.mapper(record)
        except SizeMismatchError:
            size = f"{record['width']} x {record['height']}"
            raise UserError(f"{record['file_name']} is not {size} pixels large, as its annotation says") from None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"{record['file_name']} cannot be used: {reason}; expected an image that can be read"
            ) from None


class StreamedImages(Dataset):
    """Images by their place in the stream; the place seeds the augmentations."""

    def __init__(self, records: list[dict], mapper, seed: int):
        self.records, self.mapper, self.seed = DatasetFromList(records, copy=False), ReadableImages(mapper), seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, place: Place) -> dict:
        index, number = place
        with numpy_seed(self.seed, number):
            return self.mapper(self.records[index])


def training_loader(config, start_iteration: int = 0) -> DataLoader:
    """The recipe's training images in this process's batches from ``start_iteration`` on."""
    recipe = config.dataloader.train
    options = {key: recipe[key] for key in recipe if key not in ("_target_", "dataset", "mapper", "sampler")}
    batch = options.pop("total_batch_size") // comm.get_world_size()
    records, mapper = instantiate(recipe.dataset), instantiate(recipe.mapper)
    landscape = [record["width"] > record["height"] for record in records]
    grouped = options.pop("aspect_ratio_grouping", True)
    stream = BatchStream(len(records), batch, config.train.seed, start_iteration, landscape if grouped else None)
    # A generator of its own, as the loader would draw from torch's, which each iteration seeds.
    return DataLoader(
        StreamedImages(records, mapper, config.train.seed), batch_sampler=stream, collate_fn=list,
        generator=torch.Generator().manual_seed(config.train.seed), **options,
    )  # fmt: skip


def evaluation_loader(config):
    """The recipe's loader of validation images."""
    recipe = config.dataloader.test
    mapper = ReadableImages(instantiate(recipe.mapper))
    return instantiate({**{key: recipe[key] for key in recipe}, "mapper": mapper})
