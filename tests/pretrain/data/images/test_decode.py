"""What becomes of images that are not 8-bit RGB, against Pillow and plain arithmetic."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from pretrain.common.errors import BadImageError, UserError
from pretrain.data.images.decode import FORMATS, is_image_name
from pretrain.data.images.files import ImageFiles
from tests.requirements import requires

RANDOM = np.random.default_rng(0)
SMOOTH = Image.fromarray(RANDOM.integers(0, 256, (4, 6, 3), dtype=np.uint8)).resize((48, 32), Image.Resampling.BICUBIC)


def decoded(path, channels: int = 3) -> torch.Tensor:
    images = ImageFiles(path.parent, [path.name], [0], ["x"], channels=channels)
    opened = images.open(0)
    pixels = opened.decode()
    assert tuple(pixels.shape[1:]) == tuple(opened.size) and pixels.dtype == torch.uint8
    return pixels


def pixels_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bit_gray_is_scaled_by_its_types_range(name, tmp_path):
    values = RANDOM.integers(0, 65536, (9, 7), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    with pytest.warns(UserWarning, match="16-bit images are divided by 257"):
        found = decoded(tmp_path / name)
    expected = torch.from_numpy(np.round(values / 257).astype(np.uint8))
    assert all(torch.equal(plane, expected) for plane in found)


def test_float_tiff_is_scaled_by_its_own_range_without_what_is_not_finite(tmp_path):
    values = RANDOM.normal(size=(9, 7)).astype(np.float32)
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.warns(UserWarning, match="least to their largest"):
        found = decoded(tmp_path / "a.tiff")
    low, high = np.nanmin(values), np.nanmax(values)
    expected = np.round((values.astype(np.float64) - low) * (255 / (float(high) - float(low))))
    assert np.array_equal(found[0].numpy().flatten()[1:], expected.flatten()[1:].astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode, tmp_path):
    image = SMOOTH.convert("RGBA")
    image.putalpha(Image.fromarray(RANDOM.integers(0, 2, (32, 48), dtype=np.uint8) * 255))
    if mode == "P":
        image = image.quantize(16)
    elif mode == "LA":
        image = image.convert("LA")
    image.save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="laid on white"):
        found = decoded(tmp_path / "a.png")
    rgba = Image.open(tmp_path / "a.png").convert("RGBA")
    assert torch.equal(found, pixels_of(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)))
    assert (found[:, np.array(rgba)[..., 3] == 0] == 255).all()


def test_the_orientation_of_a_png_may_stand_behind_its_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    SMOOTH.save(tmp_path / "a.png", exif=exif)
    parts, content = [], (tmp_path / "a.png").read_bytes()
    place = 8
    while place < len(content):
        size = 12 + int.from_bytes(content[place : place + 4], "big")
        parts.append(content[place : place + size])
        place += size
    late = sorted(parts, key=lambda part: 2 * (part[4:8] == b"IEND") + (part[4:8] == b"eXIf"))
    (tmp_path / "late.png").write_bytes(content[:8] + b"".join(late))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, early = decoded(tmp_path / "late.png"), decoded(tmp_path / "a.png")
    assert torch.equal(found, early) and found.shape[1:] == (SMOOTH.width, SMOOTH.height)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_the_exif_orientation_is_applied(turn, name, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = turn
    SMOOTH.save(tmp_path / name, exif=exif, lossless=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = decoded(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert torch.equal(found, pixels_of(ImageOps.exif_transpose(image)))


def test_a_reduced_jpeg_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    SMOOTH.resize((480, 320)).save(tmp_path / "a.jpg", exif=exif)
    opened = ImageFiles(tmp_path, ["a.jpg"], [0], ["x"]).open(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert opened.size == (480, 320) and opened.decode(4).shape == (3, 120, 80)


@pytest.mark.parametrize("mode", ["CMYK", "L", "1"])
def test_other_modes_are_as_pillow_converts_them(mode, tmp_path):
    SMOOTH.convert(mode).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        assert torch.equal(decoded(tmp_path / "a.tif"), pixels_of(image))


def test_one_channel_is_pillows_gray_and_sixteen_bits_stay_one(tmp_path):
    SMOOTH.save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        expected = torch.from_numpy(np.array(image.convert("L")))
    assert torch.equal(decoded(tmp_path / "a.jpg", 1), expected[None])
    Image.fromarray(RANDOM.integers(0, 65536, (9, 7), dtype=np.uint16)).save(tmp_path / "b.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert decoded(tmp_path / "b.png", 1).shape == (1, 9, 7)


@pytest.mark.parametrize("shape", [(9, 7, 5), (5, 9, 7)])
def test_arrays_of_five_channels_in_either_order(shape, tmp_path):
    values = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    planes = values if shape[0] == 5 else values.transpose(2, 0, 1)
    assert torch.equal(decoded(tmp_path / "a.npy", 5), torch.from_numpy(planes.copy()))


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (1, 9, 7), (9, 7, 3), (3, 9, 7)])
def test_arrays_of_one_channel_or_colours_in_either_order_are_gray(shape, tmp_path):
    values = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    colours = values if values.ndim == 2 else np.moveaxis(values, int(np.argmin(shape)), 2)
    if 3 in shape:
        expected = np.asarray(Image.fromarray(np.ascontiguousarray(colours)).convert("L"))
    else:
        expected = colours.reshape(9, 7)
    assert np.array_equal(decoded(tmp_path / "a.npy", 1).numpy(), expected[None])
    if 3 in shape or values.ndim == 2:
        return
    assert torch.equal(decoded(tmp_path / "a.npy", 3), torch.from_numpy(expected.copy()).expand(3, 9, 7))


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_of_either_byte_order_are_divided_by_257(order, tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1000, 2000], [3000, 65535]], dtype=f"{order}u2"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert decoded(tmp_path / "a.npy", 1).tolist() == [[[4, 8], [12, 255]]]


@requires("images")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_negatives_are_read_as_pictures(dtype, tmp_path):
    import tifffile

    values = np.linspace(0, np.iinfo(dtype).max, 12).astype(dtype).reshape(3, 4)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = decoded(tmp_path / "a.tif", 1).flatten().int()
    assert found[0] == 255 and found[-1] == 0 and (found.diff() < 0).all()


@requires("images")
def test_tiff_of_two_channels(tmp_path):
    import tifffile

    values = RANDOM.integers(0, 256, (9, 7, 2), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, planarconfig="contig", photometric="minisblack")
    assert np.array_equal(decoded(tmp_path / "a.tif", 2).permute(1, 2, 0).numpy(), values)


@requires("images")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_of_five_channels(dtype, tmp_path):
    import tifffile

    values = RANDOM.integers(0, 1 + np.iinfo(dtype).max, (9, 7, 5), dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, planarconfig="contig", photometric="minisblack")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = decoded(tmp_path / "a.tif", 5)
    expected = values if dtype == np.uint8 else np.round(values / 257).astype(np.uint8)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)


def test_another_number_of_channels_is_refused_by_name(tmp_path):
    SMOOTH.save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: 3 channels; expected 5 \(data\.channels\)"):
        decoded(tmp_path / "a.png", 5)


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"x" * 99, b""])
def test_what_is_no_safe_image_is_refused_whatever_it_is_called(content, tmp_path):
    """PostScript would start Ghostscript."""
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read the image .*photo\.jpg: not an image in a known format"):
        decoded(tmp_path / "photo.jpg")
    assert not {"EPS", "WMF", "PDF", "MPEG"} & set(FORMATS)


def damaged_avif(path):
    Image.new("RGB", (40, 30), "red").save(path, "AVIF")
    content = path.read_bytes()
    path.write_bytes(content[:-60] + bytes(60))


def header_of_no_array(path):
    path.write_bytes(b"\x93NUMPY\x01\0v\0" + b"{'descr': ('<f4'".ljust(117) + b"\n" + bytes(99))


@pytest.mark.parametrize("damage", [damaged_avif, header_of_no_array])
def test_whatever_a_decoder_raises_names_the_image(damage, tmp_path):
    damage(tmp_path / "photo.png")
    with pytest.raises(BadImageError, match=r"cannot read the image .*photo\.png"):
        decoded(tmp_path / "photo.png")


def test_an_array_of_objects_runs_no_code(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"cannot read the image .*a\.npy"):
        decoded(tmp_path / "a.npy")


def test_suffixes_of_images():
    images = ("a.JPG", "b.jfif", "c.tiff", "d.x.webp", "e.GIF", "f.npy", "g.jp2", "h.pgm")
    others = ("a.eps", "b.ps", "c.txt", "d", "e.mp4", "f.pdf", "g.jpg.txt")
    assert [is_image_name(name) for name in images + others] == [True] * 8 + [False] * 7
