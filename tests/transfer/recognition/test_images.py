"""Images are decoded once, and their views depend on (seed, epoch, index) alone."""

import pytest
import torch
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from pretrain.common.errors import UserError
from tests.pretrain.helpers import MEAN, STD
from transfer.recognition import images as module
from transfer.recognition.images import (
    Images,
    as_tested,
    augmented,
    batches,
    shown,
    together,
    train_augmentation,
)

NOWHERE = {"data": {"name": "elsewhere"}, "calibration": {}}


class Counted(Dataset):
    """Images of 24 x 20 px that count how often each was decoded."""

    classes = ("a", "b")

    def __init__(self, count: int = 6):
        self.decoded = [0] * count
        self.pixels = torch.randint(256, (count, 3, 24, 20), generator=torch.Generator().manual_seed(0)).byte()

    def __len__(self):
        return len(self.decoded)

    def __getitem__(self, index):
        self.decoded[index] += 1
        return self.pixels[index], index % 2


def test_small_sets_are_decoded_once_and_large_ones_are_not_kept(monkeypatch):
    source = Counted()
    kept = Images(source)
    kept.decode()
    before = list(source.decoded)
    for _ in range(3):
        labels = torch.cat([y for _, y in batches(as_tested(kept, 16), 4)])
    assert source.decoded == before and labels.tolist() == [0, 1] * 3
    monkeypatch.setattr(module, "IN_MEMORY", 6 * 3 * 24 * 20 - 1)
    large = Images(source)
    large.decode()
    assert large[0] and source.decoded[0] > before[0]


def test_a_small_first_image_does_not_let_large_ones_fill_the_memory(monkeypatch):
    class Growing(Counted):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return (image[:, :2, :2] if index == 0 else image), label

    source = Growing()
    monkeypatch.setattr(module, "IN_MEMORY", 2 * 3 * 24 * 20)
    images = Images(source)
    images.decode()
    assert images._kept is None and source.decoded[-1] == 0, "given up with the third image of 24 x 20 px"


def test_training_views_are_a_pure_function_of_seed_epoch_and_index():
    found, views = Images(Counted()), train_augmentation("x", 16, NOWHERE)
    state = torch.random.get_rng_state()
    first = [augmented(found, views, 16, 1, 2)[i][0] for i in (0, 1, 2)]
    backwards = [augmented(found, views, 16, 1, 2)[i][0] for i in (2, 1, 0)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, backwards))
    assert torch.equal(state, torch.random.get_rng_state()), "the global generator is left alone"
    assert not torch.equal(first[0], augmented(found, views, 16, 1, 3)[0][0])
    assert first[0].shape == (3, 16, 16) and first[0].dtype == torch.uint8


def test_views_are_the_same_in_whatever_batch_they_are_made():
    found, views = Images(Counted()), train_augmentation("x", 16, NOWHERE)
    for viewed in (augmented(found, views, 16, 1, 2), as_tested(found, 16), together([as_tested(found, 16)] * 2)):
        pixels, labels = viewed.__getitems__([4, 0, 3])
        assert labels.tolist() == [0, 0, 1]
        assert all(torch.equal(pixels[row], viewed[i][0]) for row, i in enumerate((4, 0, 3)))
    assert torch.equal(as_tested(found, 16)[5][0], module.evaluation_view(16, "bicubic")(found[5][0]))


def test_worker_processes_give_the_same_batches(monkeypatch):
    monkeypatch.setattr(module, "FEW", 0)
    found, views = Images(Counted()), train_augmentation("x", 16, NOWHERE)
    runs = [list(batches(augmented(found, views, 16, 0, 0), 4, [5, 0, 3, 1, 2, 4], workers)) for workers in (0, 2)]
    for (x, y), (other_x, other_y) in zip(*runs):
        assert torch.equal(x, other_x) and torch.equal(y, other_y)


@pytest.mark.parametrize(("size", "resized"), [(32, 36), (64, 72), (224, 256)])
def test_the_test_view_is_the_centre_of_the_resized_image(size, resized):
    image = torch.zeros(3, resized, resized + 20, dtype=torch.uint8)
    image[:, resized // 2 - 2 : resized // 2 + 2, resized // 2 + 8 : resized // 2 + 12] = 255
    view = module.evaluation_view(size, "bilinear")(image)
    assert view.shape == (3, size, size)
    assert view[0, size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2].min() == 255
    assert view.float().sum() == 255 * 3 * 16


def test_views_are_the_checkpoints_own_on_its_own_data_only():
    recorded = {"crop_scale": [0.7, 1.0], "interpolation": "bilinear", "flip": 0.0, "jitter_p": 0.0, "grayscale": 0.0}
    metadata = {"data": {"name": "digits", "image_size": 32}, "calibration": {"views": recorded}}
    own = train_augmentation("digits", 32, metadata)
    assert own.flip == 0 and own.crop_scale == (0.7, 1.0)
    assert train_augmentation("digits", 224, metadata).crop_scale == (0.08, 1.0), "another size, another crop"
    assert train_augmentation("digits", 16, NOWHERE).flip == 0, "mirrored digits are none"
    usual = train_augmentation("folder", 32, metadata)
    assert usual.flip == 0.5 and usual.crop_scale == (0.8, 1.0) and usual.interpolation == "bicubic"
    large = train_augmentation("folder", 224, metadata)
    assert large.crop_scale == (0.08, 1.0) and large.interpolation == "bilinear"


def test_large_images_are_resized_bilinear_unless_asked_otherwise():
    """Against torchvision's own resize and crop."""
    found = Images(Counted())
    image = found[3][0]
    for size, asked, mode in ((16, None, "BICUBIC"), (96, None, "BILINEAR"), (96, "bicubic", "BICUBIC")):
        side = 18 if size == 16 else 110
        expected = F.center_crop(F.resize(image, [side], InterpolationMode[mode], antialias=True), [size])
        assert torch.equal(as_tested(found, size, asked)[3][0], expected), (size, asked)
    recorded = {"interpolation": "bilinear"}
    metadata = {"data": {"name": "digits", "image_size": 32}, "calibration": {"views": recorded}}
    assert train_augmentation("digits", 32, metadata).interpolation == "bilinear", "as it was calibrated"
    assert train_augmentation("digits", 32, metadata, "bicubic").interpolation == "bicubic"


def test_an_empty_set_is_refused():
    with pytest.raises(UserError, match="no images"):
        Images(Counted(0))


def test_a_network_of_channels_side_by_side_has_the_same_features(network):
    """As on GPUs; on a CPU what changes is the order of sums."""
    plain, pixels = network.extract(0.5), torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    x = shown(pixels, "cpu", MEAN, STD)
    with torch.no_grad():
        expected = plain(x)
        found = plain.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
