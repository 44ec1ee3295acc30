"""mmdet's data sets over the stream of images and batches of ``transfer.detection.stream``."""

import contextlib
import io

import cv2
from mmdet.registry import DATASETS
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader, Dataset

from pretrain.common.errors import UserError
from transfer.detection.data import Data
from transfer.detection.data.voc import VocData, VocSplit
from transfer.detection.mmdet import dataset  # noqa: F401  (registers CheckedVoc)
from transfer.detection.stream import BatchStream, Place, numpy_seed


class StreamedImages(Dataset):
    """An mmdet data set by place in the stream, which seeds the augmentations, or by index.

    What cannot be read, or has another size than its annotation says, is refused by the file's name.
    """

    def __init__(self, images, seed: int):
        self.images, self.seed = images, seed
        images.full_init()

    @property
    def metainfo(self) -> dict:
        return self.images.metainfo

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: Place | int) -> dict:
        index, number = place if isinstance(place, tuple) else (place, 0)
        with numpy_seed(self.seed, number):
            return self.read(index)

    def read(self, index: int) -> dict:
        """The image ``index`` after its pipeline. Errors: UserError."""
        info = self.images.get_data_info(index)
        path = info["img_path"]
        try:
            found = self.images[index]
        except (OSError, AssertionError, ValueError, cv2.error) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"{path} cannot be used: {reason}; expected an image that can be read") from None
        sample = found["data_samples"]  # of another image where the pipeline leaves nothing of this one
        if sample.img_path == path and tuple(sample.ori_shape) != (info["height"], info["width"]):
            raise UserError(f"{path} is not {info['width']} x {info['height']} pixels large, as its annotation says")
        return found


def streamed(recipe, seed: int, splits: tuple[VocSplit, ...] = ()) -> StreamedImages:
    """The data set that a loader's config names. splits: what a ``CheckedVoc`` holds. UserError for other classes than
    the detector's."""
    given = {"splits": splits} if splits else {}
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        return StreamedImages(DATASETS.build({**recipe.dataset, **given}), seed)


def training_loader(config, data: Data) -> DataLoader:
    """The recipe's training images in this process's batches; its batch sampler's ``start`` is the first iteration."""
    recipe, seed = config.train_dataloader, config.randomness.seed
    images = streamed(recipe, seed, data.train if isinstance(data, VocData) else ())
    if not len(images):
        raise UserError("no image to train on: mmdet leaves out those without boxes, and those smaller than 32 pixels")
    sizes = (images.images.get_data_info(i) for i in range(len(images)))
    stream = BatchStream(
        len(images), recipe.batch_size, seed, landscape=[info["width"] > info["height"] for info in sizes]
    )
    return DataLoader(images, batch_sampler=stream, collate_fn=pseudo_collate, **workers(recipe))


def evaluation_loader(config, data: Data) -> DataLoader:
    """The recipe's validation images, shared among the processes."""
    recipe = config.val_dataloader
    images = streamed(recipe, config.randomness.seed, (data.val,) if isinstance(data, VocData) else ())
    sampler = DefaultSampler(images, shuffle=False)
    return DataLoader(
        images, batch_size=recipe.batch_size, sampler=sampler, collate_fn=pseudo_collate, **workers(recipe)
    )


def workers(recipe) -> dict:
    return {"num_workers": recipe.num_workers, "persistent_workers": recipe.num_workers > 0}
