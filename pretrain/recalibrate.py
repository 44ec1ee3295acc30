"""Statistics of further widths, estimated exactly as the end of their pretraining would have estimated them."""

from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import read_object
from pretrain.data.augmentation.settings import recorded_augmentation
from pretrain.data.calibration import CalibrationBatches
from pretrain.data.images.datasets import image_dataset
from pretrain.run.device import lay_out
from pretrain.slimmable.widths import check_width
from pretrain.universal import UniversalNetwork


def pretraining_batches(net: UniversalNetwork, run: Path, root: Path | None = None) -> CalibrationBatches:
    """The images that ``net`` was calibrated on at the end of its pretraining, in the same batches.

    run: the folder of the run, whose ``config.json``, if it is there, says where the data are and which part of them
    was used. root: where they are, if elsewhere.
    Errors: UserError for a checkpoint that does not record it, and for data that are not there or other ones.
    """
    data, record = net.metadata["data"], net.metadata["calibration"]
    lacking = [key for key in ("views", "batch_size", "batches", "seed") if record.get(key) is None]
    if lacking:
        raise UserError(f"the checkpoint does not record how it was calibrated: its calibration has no {lacking[0]}")
    augmentation = recorded_augmentation(record["views"])
    config = recorded_data(run)
    root = root or config.get("root")
    images = image_dataset(
        data["name"], root, "train", data["image_size"], config.get("images_per_class"), net.backbone.input_channels
    )
    if data.get("images") not in (None, len(images)):
        where = f" in {root}" if root else ""
        raise UserError(
            f"'{data['name']}'{where} has {len(images)} training images; "
            f"expected the {data['images']} of the pretraining"
        )
    return CalibrationBatches(
        images, augmentation, data["image_size"], record["batch_size"], record["batches"], record["seed"],
        net.metadata["mean"], net.metadata["std"], on_bad=config.get("on_bad", "stop"),
    )  # fmt: skip


def recorded_data(run: Path) -> dict:
    """The section ``data`` of a run's config; empty where a checkpoint came without its run."""
    data = read_object(run / "config.json").get("data")
    return data if isinstance(data, dict) else {}


def recalibrate(net: UniversalNetwork, widths: list[float], batches: CalibrationBatches) -> None:
    """Estimate ``widths`` of ``net`` on ``pretraining_batches``: the numbers that pretraining would have written.

    Errors: UserError for a width outside the range, before anything is read.
    """
    for width in widths:
        check_width(width, *net.width_range)
    device = next(net.parameters()).device
    lay_out(net.backbone, device, net.metadata.get("precision", "fp32"))  # the layout decides the last bits
    net.calibrate(
        batches, widths, data=net.metadata["data"]["name"], on="pretraining", batch_size=batches.batch_size,
        batches=batches.count,
    )  # fmt: skip
