"""Images from the bytes of their files: Pillow's pixels, whoever decodes them, and its judgement of damaged ones."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as V

from pretrain.common.errors import UserError
from pretrain.data.images.datasets import image_dataset
from tests.requirements import requires


def pillow(encoded: bytes) -> torch.Tensor:
    return V.pil_to_tensor(Image.open(BytesIO(encoded)).convert("RGB"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    return tmp_path / "train" / "a"


PIXELS = np.random.default_rng(0).integers(0, 256, (45, 38, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}], ids=str)
def test_jpegs_have_pillows_pixels(folder, mode, options):
    Image.fromarray(PIXELS).convert(mode).save(folder / "x.jpg", **options)
    source = image_dataset("folder", folder.parents[1])
    assert torch.equal(source[0][0], pillow((folder / "x.jpg").read_bytes()))


@requires("data")
def test_photographs_have_pillows_pixels(real_data):
    source = image_dataset("folder", real_data / "imagenet_mini")
    for index in range(0, len(source), 10):
        assert torch.equal(source[index][0], pillow(source.encoded(index)))


def test_a_jpeg_that_ends_too_early_is_refused_by_its_name(folder):
    Image.fromarray(PIXELS).save(folder / "x.jpg")
    (folder / "x.jpg").write_bytes((folder / "x.jpg").read_bytes()[:-100])
    with pytest.raises(UserError, match=r"cannot read the image .*a/x.jpg: .*truncated"):
        image_dataset("folder", folder.parents[1])[0]


def test_other_formats_are_pillows(folder):
    Image.fromarray(PIXELS).convert("P").save(folder / "x.png")
    assert torch.equal(image_dataset("folder", folder.parents[1])[0][0], pillow((folder / "x.png").read_bytes()))
