"""A tiny image folder whose two classes a linear head can tell apart, but not by chance."""

import pytest
import torch
from PIL import Image


@pytest.fixture
def image_folder(tmp_path):
    """tmp_path/photos/{train,val}/{dark,light}/*.png|JPEG: 24 and 8 noisy images of 20 x 16 px a class."""
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 24), ("val", 8)):
        for name, colour in (("dark", (30, 60, 90)), ("light", (220, 190, 160))):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = (torch.randn(16, 20, 3, generator=generator) * 12 + torch.tensor(colour)).clamp(0, 255).byte()
                Image.fromarray(pixels.numpy()).save(folder / f"{i}.{'png' if i % 2 else 'JPEG'}")
    return tmp_path / "photos"
