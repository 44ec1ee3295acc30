"""What a data set is, as a digest: the key under which features of its images are kept."""

import hashlib
import json

from torch.utils.data import Dataset

from pretrain.common.errors import UserError


def dataset_hash(dataset: Dataset) -> str:
    """SHA-256 of classes, labels and ``dataset.identity()``: pixels in memory; names, sizes, times of change of files.

    Errors: UserError for a data set of somebody's own that does not say what it is.
    """
    if not hasattr(dataset, "identity"):
        raise UserError(
            f"features are kept by what their images are, which {type(dataset).__name__} does not say; "
            "expected TensorImages, EncodedImages, or an identity() that gives bytes"
        )
    digest = hashlib.sha256(_labelled(dataset))
    for part in dataset.identity():
        digest.update(part)
    return digest.hexdigest()


def labels_hash(dataset: Dataset) -> str:
    """SHA-256 of classes and labels, so of the number of images as well: the same wherever they lie and however."""
    return hashlib.sha256(_labelled(dataset)).hexdigest()


def _labelled(dataset: Dataset) -> bytes:
    return json.dumps(list(map(str, dataset.classes))).encode() + dataset.labels.numpy().tobytes()
