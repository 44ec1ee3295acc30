"""Eight-bit files: judged by their own runtime on images that did not calibrate them, refused where they lose."""

import importlib
import json

import numpy as np
import pytest
import torch

from pretrain.common.errors import UserError
from pretrain.knn import knn_scores
from tests.pretrain.helpers import universal
from tests.requirements import requires
from transfer.convert import FORMATS, convert, of_width
from transfer.convert.int8 import Int8
from transfer.runtimes import RUNTIMES
from transfer.source import Source
from transfer.validation import Validation, torch_run, validation_images

INT8 = {form: runtime for runtime, form in RUNTIMES.items() if FORMATS[form].int8}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return universal(base_channels=16, widths=(0.5,))


@pytest.fixture
def source(net):
    return Source(net, "us3l", net.hash)


def blobs(count: int, classes: int = 3) -> Validation:
    """Classes of one mean colour each, which any network tells apart."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % max(classes, 1)
    noise = torch.randint(0, 60, (count, 3, 32, 32), generator=generator)
    images = (noise + 90 * torch.nn.functional.one_hot(labels, 3)[:, :, None, None]).to(torch.uint8)
    half = count // 2
    return Validation(
        "blobs", images[:half], labels[:half], images[half:], labels[half:], classes, (0.5,) * 3, (0.5,) * 3
    )


class TestValidation:
    def test_parts_of_the_training_images_have_no_image_in_common_and_repeat(self, source):
        found, again = validation_images(source, 16), validation_images(source, 16)
        assert found.queries.shape[1:] == (3, 16, 16) and len(found.queries) == 479 and len(found.bank) == 1437 - 479
        assert torch.equal(found.bank, again.bank) and found.classes == 10
        rows = {image.numpy().tobytes() for image in found.bank}
        assert sum(image.numpy().tobytes() in rows for image in found.queries) <= 2  # digits that were drawn twice

    def test_accuracy_is_that_of_the_normalised_features_in_one_batch(self):
        seen = blobs(24)
        run = torch_run(torch.nn.Sequential(torch.nn.AvgPool2d(32), torch.nn.Flatten()))
        bank, queries = seen.features(run)
        expected = (seen.queries.double() / 255 - 0.5).div(0.5).mean(dim=(2, 3)).float()
        torch.testing.assert_close(queries, expected)
        votes = knn_scores(bank, seen.bank_labels, expected, 3, 12).argmax(1)
        assert seen.top1(bank, queries) == pytest.approx(100 * (votes == seen.labels).double().mean().item())

    def test_images_that_are_not_there_are_one_line(self, net, tmp_path):
        net.metadata["data"]["name"], before = "cifar10", net.metadata["data"]["name"]
        try:
            with pytest.raises(UserError, match="no images of the pretraining's 'cifar10'.*expected --data FOLDER"):
                validation_images(Source(net, "us3l", net.hash), 32)
            with pytest.raises(UserError, match="no such folder"):
                validation_images(Source(net, "us3l", net.hash), 32, tmp_path / "none")
        finally:
            net.metadata["data"]["name"] = before

    def test_a_folder_of_the_users_own_counts(self, source, tmp_path):
        from PIL import Image

        for number in range(9):
            path = tmp_path / "mine" / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (number, 0, 0)).save(path)
        found = validation_images(source, 16, tmp_path / "mine")
        assert (found.name, found.classes, len(found.bank), len(found.queries)) == ("mine", 2, 6, 3)


class TestJudgement:
    plain = torch.nn.Sequential(torch.nn.AvgPool2d(32), torch.nn.Flatten()).eval()

    def test_what_was_lost_is_said_and_more_than_allowed_is_refused(self):
        def worse(images: np.ndarray) -> np.ndarray:
            features = images.mean(axis=(2, 3))
            return np.stack([features[:, 0], *[features[:, 1] + features[:, 2]] * 2], axis=1)

        told = []
        record = Int8(blobs(36), None, told.append).judged(self.plain, worse, "test")
        before, after = record["top1_before"], record["top1_after"]
        assert before == 100 and after < before and record["cosine"] < 0.99
        assert told == [
            f"int8 by test: cosine {record['cosine']:.4f}, kNN 100.00 -> {after:.2f} % on 18 images of blobs"
        ]
        with pytest.raises(UserError, match=f"{before - after:.2f} points lost; expected --max-loss 1 or less"):
            Int8(blobs(36), 1.0).judged(self.plain, worse, "test")

    def test_without_labels_the_cosine_is_the_loss(self):
        run = torch_run(self.plain)
        record = Int8(blobs(36, classes=0), 1.0, lambda line: None).judged(self.plain, run, "test")
        assert record["top1_before"] is record["top1_after"] is None and record["cosine"] == pytest.approx(1)
        with pytest.raises(UserError, match="points lost"):
            Int8(blobs(36, classes=0), 1.0).judged(self.plain, lambda images: run(images)[:, ::-1].copy(), "test")

    def test_features_that_depend_on_the_batch_are_refused(self):
        def run(images: np.ndarray) -> np.ndarray:
            features = images.mean(axis=(2, 3))
            return features - features.mean(axis=0) + len(images)

        with pytest.raises(RuntimeError, match="depend on its batch"):
            Int8(blobs(36), None).judged(self.plain, run, "test")


@requires("devices", "formats")
@pytest.mark.parametrize("form", INT8)
def test_the_runtime_computes_nearly_the_same_from_a_quarter_of_the_bytes(form, net, tmp_path):
    plain, seen = net.extract(0.5), blobs(48)
    int8 = Int8(seen, 5.0, lambda line: None)
    paths = convert(plain, form, tmp_path / "int8", of_width(net, 0.5), int8=int8)
    assert paths[0].stem == "resnet18_int8" and sorted((tmp_path / "int8").iterdir()) == sorted(paths)
    run = importlib.import_module(f"transfer.runtimes.{INT8[form]}").load(paths[0], 1)
    found, expected = (torch.cat(seen.features(each)) for each in (run, torch_run(plain)))
    cosine = torch.nn.functional.cosine_similarity(found, expected, dim=1)
    assert not torch.equal(found, expected) and cosine.mean() > 0.95
    heaviest = max(path.stat().st_size for path in paths if path.suffix != ".xml")
    assert heaviest < 0.45 * 4 * sum(p.numel() for p in plain.parameters())
    record = described(form, paths)["int8"]
    assert record["data"] == "blobs" and record["top1_after"] == pytest.approx(seen.top1(*seen.features(run)))


def described(form: str, paths: list) -> dict:
    """The description of a written file."""
    if form == "onnx":
        import onnx

        [said] = onnx.load(paths[0]).metadata_props
        return json.loads(said.value)
    if form == "openvino":
        import openvino

        return json.loads(openvino.Core().read_model(paths[0]).get_rt_info(["pretraining"]).astype(str))
    return json.loads(paths[-1].read_text())


@requires("formats")
def test_a_refused_file_is_not_written(net, tmp_path, monkeypatch):
    monkeypatch.setattr("transfer.convert.onnx.quantise", lambda path, int8: None)
    with pytest.raises(UserError, match="0.00 points lost"):
        convert(net.extract(0.5), "onnx", tmp_path, of_width(net, 0.5), int8=Int8(blobs(12), -1.0))
    assert list(tmp_path.iterdir()) == []


def test_int8_needs_its_package_and_a_format_that_has_it(net, tmp_path, monkeypatch):
    int8 = Int8(blobs(12))
    with pytest.raises(UserError, match="safetensors has no int8 here; expected onnx, openvino or executorch"):
        convert(net.extract(0.5), "safetensors", tmp_path, of_width(net, 0.5), int8=int8)
    monkeypatch.setattr("transfer.convert.find_spec", lambda name: None if name == "nncf" else True)
    with pytest.raises(UserError, match=r"openvino needs nncf; .*pip install '\.\[devices\]'"):
        convert(net.extract(0.5), "openvino", tmp_path, of_width(net, 0.5), int8=int8)
