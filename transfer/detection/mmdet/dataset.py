"""A checked data set in VOC's layout as mmdet knows data; mmdet's own class reads COCO's from the cleaned file."""

from mmdet.datasets import VOCDataset
from mmdet.registry import DATASETS

from transfer.detection.data.voc import VocImage, VocSplit


@DATASETS.register_module()
class CheckedVoc(VOCDataset):
    """mmdet's VOCDataset, its rules for boxes included, of the annotations that have been read already.

    splits: of all years, one after the other.
    """

    def __init__(self, splits: tuple[VocSplit, ...], **options):
        self.splits = splits
        super().__init__(**options)

    def load_data_list(self) -> list[dict]:
        labels = {name: label for label, name in enumerate(self._metainfo["classes"])}
        return [self.record(image, labels) for split in self.splits for image in split.images]

    def record(self, image: VocImage, labels: dict[str, int]) -> dict:
        """As VOCDataset has an image: corners from 0, as whole pixels, the last ones included.

        mmdet takes their difference as the size, which a box of one pixel would not have: its loss were not a number.
        """
        smallest = self.bbox_min_size or 0
        instances = []
        for found in image.objects:
            x0, y0, x1, y1 = (int(corner) - 1 for corner in found.box)
            small = smallest and (x1 - x0 < smallest or y1 - y0 < smallest)
            ignored = int(bool(found.difficult or small))
            box = [x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)]
            instances.append({"ignore_flag": ignored, "bbox": box, "bbox_label": labels[found.name]})
        return {
            "img_path": str(image.file), "img_id": image.name, "height": image.height, "width": image.width,
            "instances": instances,
        }  # fmt: skip
