"""The file of a universal checkpoint: every format is read, and whatever is not one is refused in one line."""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save

from pretrain import UserError, load_universal
from pretrain.universal.file import FORMAT

GOLDEN = {version: Path(__file__).with_name(f"format_{version}.safetensors") for version in (1, 2)}
HASH = "a3e4dea6ecac4c90247c5fcff6124def3e2c03105791e13910a6e17f7878d901"
FEATURES = {1.0: [1.4828839302, 0.5091792941, 0.1457508951], 0.5: [1.1763892174, 0.3182044029, 0.0647079870]}
PROJECTED = [-0.0136311203, -0.0483372658, 0.1729303151, 0.0733833909]


def golden(version: int = FORMAT) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and metadata of a file whose features are known."""
    with safetensors.safe_open(GOLDEN[version], "pt") as file:
        return load_file(GOLDEN[version]), json.loads(file.metadata()["us3l"])


def write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict, version: int = 1) -> Path:
    """A file of format 1, which has no checksum: what is written here is judged by what it says."""
    values = {**metadata, "format": version}
    if version == 1:
        values.pop("checksum", None)
    path.write_bytes(save(tensors, {"us3l": json.dumps(values)}))
    return path


def weights_sha256(tensors: dict[str, torch.Tensor]) -> str:
    """As docs/checkpoint.md describes it, without the suite's code."""
    digest = hashlib.sha256()
    names = {name.removeprefix("backbone."): name for name in tensors if not name.startswith("statistics.")}
    for short, name in sorted(names.items()):
        array = tensors[name].numpy()
        shape = ", ".join(map(str, array.shape)) + ("," if array.ndim == 1 else "")
        digest.update(f"{short} torch.{array.dtype} ({shape})\n".encode() + array.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("version", GOLDEN)
def test_files_of_every_format_are_read(version, recwarn):
    net = load_universal(GOLDEN[version])
    images = torch.linspace(-1, 1, 2 * 3 * 16 * 16).view(2, 3, 16, 16)
    for width, expected in FEATURES.items():
        assert net(images, width)[0, :3].tolist() == pytest.approx(expected, rel=1e-4)
    assert net.project(images)[0].tolist() == pytest.approx(PROJECTED, rel=1e-3)
    assert net.hash == HASH and net.calibrated_widths == [1.0, 0.5]
    assert net.calibration_of(0.5) == {"on": "pretraining", "data": "digits", "batch_size": 4, "batches": 2}
    assert not recwarn.list


def test_a_file_is_written_in_the_newest_format_and_with_the_same_bytes(tmp_path):
    for version in GOLDEN:
        path = load_universal(GOLDEN[version]).save(tmp_path / "u.safetensors")
        assert path.read_bytes() == GOLDEN[FORMAT].read_bytes()


def test_the_format_can_be_read_without_the_suite():
    """docs/checkpoint.md, in numpy: eight bytes of length, JSON, numbers; the two checksums."""
    data = GOLDEN[2].read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    text = header.pop("__metadata__")["us3l"]
    metadata = json.loads(text)
    assert list(metadata) == sorted(metadata) and metadata["format"] == 2
    arrays = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        assert entry["dtype"] == "F32"
        arrays[name] = np.frombuffer(data[8 + length :][start:stop], "<f4").reshape(entry["shape"])
    assert weights_sha256({name: torch.tensor(array) for name, array in arrays.items()}) == metadata["weights_sha256"]
    digest = hashlib.sha256(text.replace(metadata["checksum"], 64 * "0").encode() + b"\n")
    for name in sorted(name for name in arrays if name.startswith("statistics.")):
        digest.update(f"{name} torch.float32 ({len(arrays[name])},)\n".encode() + arrays[name].tobytes())
    assert digest.hexdigest() == metadata["checksum"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not safetensors at all", b"\xff" * 100, bytes(100)])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "universal.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is no universal checkpoint"):
        load_universal(path)


def refused(path: Path, message: str | None = None) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_universal(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_foreign_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    refused(path, "no such file")
    refused(tmp_path, "no such file: .*universal.safetensors")
    path.write_bytes(save({"x": torch.zeros(1)}))
    refused(path, "without the key 'us3l'")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (None, "format 1 or 2: its format is None"),
        ("2", "its format is 2"),
        (True, "its format is True"),
        (0, "its format is 0"),
        (3, "has format 3, newer than 2, the newest known here"),
        (10**30, "newer than 2"),
    ],
)
def test_other_versions_are_refused_with_their_number(tmp_path, version, message):
    refused(write(tmp_path / "u.safetensors", *golden(), version), message)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", '"x"', "[" * 100_000, '{"a": NaN}', '{"a": 1e999}', "1" * 5000]
)
def test_metadata_that_are_no_json_object_are_refused(tmp_path, text):
    path = tmp_path / "u.safetensors"
    path.write_bytes(save({"x": torch.zeros(1)}, {"us3l": text}))
    refused(path, "is no universal checkpoint")


CRAFTED = [
    (("method",), None, "method: "),
    (("method",), "random", "stands for networks that were not pretrained"),
    (("method",), "a\nb", "method: "),
    (("backbone",), [], "backbone: "),
    (("backbone", "name"), "resnet99", "unknown backbone 'resnet99'"),
    (("backbone", "name"), 18, "backbone"),
    (("backbone", "name"), None, "no backbone"),
    (("backbone", "depth"), 3, "no option 'depth'"),
    (("backbone", "base_channels"), 10**12, "backbone.base_channels"),
    (("backbone", "base_channels"), 60_000, "has the shape"),
    (("backbone", "base_channels"), "2", "no backbone"),
    (("backbone", "base_channels"), True, "has the shape|no backbone"),
    (("backbone", "stem"), "imagenet", "conv1.weight has the shape"),
    (("width_range",), [1.0, 0.25], "is no range"),
    (("width_range",), [0.25], "width_range"),
    (("width_range",), [0, 1e308], "width_range"),
    (("mean",), [0.5, 0.5], "mean: "),
    (("mean",), ["a", 0, 0], "mean.0: "),
    (("std",), [0.0, 1.0, 1.0], "std.0: "),
    (("data",), "digits", "data: "),
    (("data", "image_size"), -1, "data.image_size: "),
    (("data", "image_size"), 10**9, "data.image_size: "),
    (("data", "name"), None, "data.name: "),
    (("channel_order",), "BGR", "channel_order: "),
    (("calibration",), None, "calibration: "),
    (("calibration", "widths"), [1.0, 0.5, 0.75], "lacks statistics.8-8.8"),
    (("calibration", "widths"), [1.0], "has unexpected statistics.8-8.8"),
    (("calibration", "widths"), [0.1], "calibration.widths.0"),
    (("calibration", "widths"), "all", "calibration.widths"),
    (("calibration", "by_width"), {"0.5": 3}, "calibration.by_width.0.5"),
    (("calibration", "batch_size"), "4", "calibration.batch_size"),
    (("projector",), [16, 8], "projector"),
    (("projector", "sizes"), [10**6, 10**6, 10**6], "projector.sizes.0"),
    (("projector", "sizes"), [65536, 65536, 65536, 4], "has the shape"),
    (("projector", "sizes"), [16], "projector.sizes"),
    (("projector", "bias"), True, "projector.bias"),
    (("weights_sha256",), None, "weights_sha256"),
    (("weights_sha256",), "0" * 64, "weights are not those that the statistics were calibrated for"),
]


@pytest.mark.parametrize(("path", "value", "message"), CRAFTED, ids=lambda v: str(v)[:40])
def test_metadata_of_the_wrong_type_or_range_are_refused_by_name(tmp_path, path, value, message):
    tensors, metadata = golden()
    if path == ("calibration", "widths") and value == [1.0, 0.5, 0.75]:
        value = [*value[:2], 0.25]  # the same channels as 0.5 would be no lack
        tensors = {n: t for n, t in tensors.items() if "/" not in n or "8-8.8-8.8-8.8-8.8/" not in n}
    inner = metadata
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    refused(write(tmp_path / "u.safetensors", tensors, metadata), message)


@pytest.mark.parametrize(
    "key", ["method", "backbone", "width_range", "mean", "std", "data", "calibration", "projector"]
)
def test_missing_metadata_are_refused_by_name(tmp_path, key):
    tensors, metadata = golden()
    del metadata[key]
    refused(write(tmp_path / "u.safetensors", tensors, metadata), key)


STATISTIC = "statistics.8-8.8-8.8-8.8-8.8/bn1"
DAMAGES = {
    "a statistic is missing": (f"{STATISTIC}.var", None, f"lacks {STATISTIC}.var"),
    "a weight is missing": ("backbone.conv1.weight", None, "lacks backbone.conv1.weight"),
    "a stranger": ("x", torch.zeros(1), "has unexpected x"),
    "a weight too many": ("backbone.x", torch.zeros(1), "has unexpected backbone.x"),
    "no pair": (f"{STATISTIC}.median", torch.zeros(8), "has unexpected"),
    "another key": ("statistics.7/bn1.mean", torch.zeros(8), "has unexpected statistics.7/bn1.mean"),
    "a path": ("statistics.../../etc/bn1.mean", torch.zeros(8), "has unexpected"),
    "short": (f"{STATISTIC}.mean", torch.zeros(7), r"has the shape \[7\], expected \[8\]"),
    "a matrix": (f"{STATISTIC}.mean", torch.zeros(8, 1), r"has the shape \[8, 1\]"),
    "integers": (f"{STATISTIC}.mean", torch.zeros(8, dtype=torch.int64), "is int64, expected float32"),
    "bf16": (f"{STATISTIC}.mean", torch.zeros(8, dtype=torch.bfloat16), "is bfloat16, expected float32"),
    "NaN": (f"{STATISTIC}.mean", torch.full((8,), torch.nan), "holds a number that is not finite"),
    "infinite": (f"{STATISTIC}.var", torch.full((8,), torch.inf), "holds a number that is not finite"),
    "negative": (f"{STATISTIC}.var", torch.full((8,), -1.0), "holds a variance below 0"),
    "mixed weights": ("backbone.bn1.weight", torch.ones(8).half(), "is float16, expected"),
    "integer weights": ("backbone.bn1.weight", torch.ones(8).int(), "is int32, expected"),
    "NaN weights": ("backbone.bn1.weight", torch.full((8,), torch.nan), "holds a number that is not finite"),
}


@pytest.mark.parametrize(("name", "tensor", "message"), DAMAGES.values(), ids=DAMAGES)
def test_tensors_that_are_not_what_the_metadata_say_are_refused_by_name(tmp_path, name, tensor, message):
    tensors, metadata = golden()
    tensors = {n: t for n, t in tensors.items() if n != name} | ({} if tensor is None else {name: tensor})
    if name == "backbone.bn1.weight":
        metadata["weights_sha256"] = weights_sha256(tensors)
    refused(write(tmp_path / "u.safetensors", tensors, metadata), message)


def test_weights_and_statistics_belong_together(tmp_path):
    tensors, metadata = golden()
    tensors["backbone.conv1.weight"] += 1
    refused(write(tmp_path / "u.safetensors", tensors, metadata), "not those that the statistics were calibrated for")


def test_a_file_of_the_newest_format_without_its_checksum_is_refused(tmp_path):
    tensors, metadata = golden()
    del metadata["checksum"]
    refused(write(tmp_path / "u.safetensors", tensors, metadata, version=2), "their checksum does not hold")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("crafted") / "u.safetensors"


@given(data=st.data())
@pytest.mark.parametrize("kind", ["flipped", "cut", "inserted"])
def test_one_damaged_byte_anywhere_is_noticed(scratch, kind, data):
    """Weights, statistics, metadata and names alike: a file of the newest format is the one that was written or none.

    Only a byte that the JSON of the header does not need may change: spaces at its end.
    """
    whole = bytearray(GOLDEN[2].read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    if kind == "flipped":
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del whole[at:]
    else:
        whole.insert(at, data.draw(st.integers(0, 255)))
    scratch.write_bytes(whole)
    refused(scratch)


ENTRIES = st.fixed_dictionaries({
    "dtype": st.sampled_from(["F32", "F16", "BF16", "I64", "F8_E4M3", "BOOL", "C64", "X", 3, None]),
    "shape": st.one_of(st.lists(st.integers(-(2**65), 2**65), max_size=3), st.just("x")),
    "data_offsets": st.one_of(st.lists(st.integers(-(2**65), 2**65), max_size=3), st.just([0, 4])),
})  # fmt: skip
NAMES = st.sampled_from(["backbone.conv1.weight", "statistics.8/bn1.mean", "x", "", "__metadata__"])


@given(entries=st.dictionaries(NAMES, ENTRIES, max_size=3), length=st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_crafted_headers_are_refused(scratch, entries, length):
    """Offsets and shapes that are huge, negative, overlapping; lengths that lead anywhere."""
    _, metadata = golden()
    header = json.dumps({"__metadata__": {"us3l": json.dumps(metadata)}, **entries}).encode()
    scratch.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + bytes(64))
    refused(scratch)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    (*above, key)
    for above in ((), ("backbone",), ("data",), ("calibration",), ("projector",))
    for key in (golden()[1] if not above else golden()[1][above[0]])
]


@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_value_in_any_place_is_used_rightly_or_refused(scratch, place, value):
    tensors, metadata = golden()
    inner = metadata
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    write(scratch, tensors, metadata)
    try:
        net = load_universal(scratch)
    except UserError as error:
        assert "\n" not in str(error)
        return
    images = torch.zeros(1, 3, 16, 16)
    for width in net.calibrated_widths:
        assert net(images, width).isfinite().all() and net.calibration_of(width)
    assert net.extract(1.0) and net.cost(1.0) and net.save(scratch.with_name("again.safetensors"))
