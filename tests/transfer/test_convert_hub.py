"""Folders for Hugging Face: the universal one with its card, and transformers' own; torchvision's detectors."""

import importlib.util
import json

import pytest
import torch

from pretrain import from_pretrained, load_universal
from pretrain.common.errors import UserError
from tests.pretrain.helpers import universal
from tests.programs import tool
from tests.requirements import requires
from transfer.convert import convert, of_width
from transfer.convert.hub import write
from transfer.source import find_checkpoint, load_source


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return universal(base_channels=16)


@pytest.fixture(scope="module")
def checkpoint(net, tmp_path_factory):
    return net.save(tmp_path_factory.mktemp("run") / "universal.safetensors")


class TestHub:
    def test_the_folder_is_read_as_it_stands_and_its_card_says_what_is_in_it(
        self, net, checkpoint, make_result, tmp_path
    ):
        make_result(checkpoint=net.hash, width=0.5, metrics={"top1": 43.21}).write(checkpoint.parent / "mine")
        make_result(checkpoint="c" * 64, width=0.5, metrics={"top1": 98.76}).write(checkpoint.parent / "other")
        paths = write(load_source(checkpoint), tmp_path / "hub", "mit")
        assert [path.name for path in paths] == ["universal.safetensors", "config.json", "README.md"]
        images = torch.randn(2, 3, 32, 32)
        again = load_universal(tmp_path / "hub")
        assert again.hash == net.hash and torch.equal(again(images, 0.5), net(images, 0.5))
        with torch.no_grad():
            assert torch.equal(from_pretrained(tmp_path / "hub", 0.5)(images), net(images, 0.5))
        config = json.loads(paths[1].read_text())
        assert config["weights_sha256"] == net.hash and config["widths"] == [1.0, 0.5]
        card = paths[2].read_text()
        assert card.startswith("---\nlicense: mit\n") and net.hash in card
        assert f"{net.cost(0.5, 32).params / 1e6:.2f}" in card and "43.2" in card and "98.8" not in card
        assert "pretraining: digits" in card or "other: " in card
        assert "teacher" not in card

    def test_the_card_says_whose_licence_may_bind(self, tmp_path):
        taught = universal(base_channels=8)
        weights = {"source": "w.pth", "licence": "cc-by-nc-4.0", "sha256": "0" * 64}
        taught.metadata |= {"teacher": "timm:vit_tiny", "teacher_weights": weights}
        card = write(load_source(taught.save(tmp_path / "universal.safetensors")), tmp_path / "hub", "mit")[
            2
        ].read_text()
        line = next(line for line in card.splitlines() if line.startswith("| teacher |"))
        assert "timm:vit_tiny" in line and "w.pth" in line and "licence, which may bind: cc-by-nc-4.0" in line

    def test_a_runs_own_files_are_kept_and_its_own_are_replaced(self, net, checkpoint, tmp_path):
        source = load_source(checkpoint)
        net.save(tmp_path / "run" / "universal.safetensors")
        (tmp_path / "run" / "config.json").write_text('{"name": "mine"}')
        with pytest.raises(UserError, match="has universal.safetensors, config.json, not written by --to hub"):
            write(source, tmp_path / "run", "mit")
        assert (tmp_path / "run" / "config.json").read_text() == '{"name": "mine"}'
        assert not (tmp_path / "run" / "README.md").exists()
        write(source, tmp_path / "hub", "mit")
        assert "license: other" in write(source, tmp_path / "hub", "other")[2].read_text()

    def test_a_checkpoint_of_plans_alone_has_a_card_and_one_of_nothing_is_refused(self, tmp_path):
        torch.manual_seed(0)
        net = universal(base_channels=16, widths=())
        source = load_source(net.save(tmp_path / "universal.safetensors"))
        with pytest.raises(UserError, match=r"no calibrated width.*tools/calibrate\.py"):
            write(source, tmp_path / "hub", "mit")
        assert not (tmp_path / "hub").exists()
        plan = net.width("r18-8.16.32.64")
        net.calibrate([torch.randn(8, 3, 32, 32)], [plan])
        source = load_source(net.save(tmp_path / "universal.safetensors"))
        card = write(source, tmp_path / "hub", "mit")[2].read_text()
        assert 'net.extract(net.width("r18-8.16.32.64"))' in card and "| r18-8.16.32.64 |" in card

    @requires("hub")
    def test_a_name_is_fetched_by_huggingface_hub(self, net, checkpoint, monkeypatch):
        asked = []

        def download(repository: str, name: str) -> str:
            asked.append((repository, name))
            return str(checkpoint)

        monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
        assert load_universal("hf://somebody/r18").hash == net.hash
        assert find_checkpoint("hf:/somebody/r18") == checkpoint  # as a Path says it
        assert asked == [("somebody/r18", "universal.safetensors")] * 2

        def refused(repository: str, name: str) -> str:
            raise OSError("no network\nat all")

        monkeypatch.setattr("huggingface_hub.hf_hub_download", refused)
        with pytest.raises(UserError, match=r"^hf://somebody/r18 cannot be had: no network$"):
            load_universal("hf://somebody/r18")
        with pytest.raises(UserError, match="expected hf://owner/name"):
            load_universal("hf://somebody")

    def test_without_huggingface_hub_the_line_for_pip(self, monkeypatch):
        monkeypatch.setattr("pretrain.universal.hub.find_spec", lambda name: None)
        with pytest.raises(UserError, match=r"pip install '\.\[hub\]'"):
            load_universal("hf://somebody/r18")


@requires("hub")
class TestTransformers:
    @torch.no_grad()
    def test_stock_transformers_computes_the_features(self, net, tmp_path):
        from transformers import AutoModel

        plain = net.extract(0.5)
        paths = convert(plain, "transformers", tmp_path, of_width(net, 0.5))
        assert [path.name for path in paths] == ["config.json", "model.safetensors", "pretraining.json"]
        model = AutoModel.from_pretrained(tmp_path, local_files_only=True).eval()
        assert model.config.hidden_sizes == list(plain.channels.outer)
        images = torch.randn(2, 3, 48, 48)
        torch.testing.assert_close(model(images).pooler_output.flatten(1), plain(images), rtol=1e-4, atol=1e-4)

    def test_files_of_others_are_kept_and_its_own_are_replaced(self, net, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.json").write_text("{}")
        with pytest.raises(UserError, match=r"run has config\.json, not written by --to transformers"):
            convert(net.extract(0.5), "transformers", tmp_path / "run", of_width(net, 0.5))
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
        for width in (0.5, 1.0):
            paths = convert(net.extract(width), "transformers", tmp_path / "own", of_width(net, width))
        assert json.loads(paths[2].read_text())["width"] == 1.0

    def test_a_width_that_it_cannot_say_is_written_for_timm(self, tmp_path, capsys):
        torch.manual_seed(0)
        net = universal("resnet50", widths=(0.9,), base_channels=16)
        paths = convert(net.extract(0.9), "transformers", tmp_path, of_width(net, 0.9))
        assert paths[0].name == "resnet50.py" and "written for timm" in capsys.readouterr().out


class TestDetectors:
    @pytest.mark.parametrize(("name", "width"), [("resnet18", 0.5), ("resnet50", 0.9)])
    def test_torchvisions_detector_trains_on_the_body_without_this_project(self, name, width, tmp_path):
        torch.manual_seed(0)
        net = universal(name, widths=(width,), base_channels=16)
        [code, *_] = convert(net.extract(width), "torchvision-detection", tmp_path, of_width(net, width))
        text = code.read_text()
        assert "pretrain." not in text and "transfer" not in text.replace("transferred", "")
        spec = importlib.util.spec_from_file_location("written", code)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        images = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            body = module.create_backbone(frozen_norms=True).eval()
            expected = net.extract(width).stage_maps(images)[-1]
            torch.testing.assert_close(body(images), expected, rtol=1e-3, atol=1e-3)
        model = module.create_model("faster_rcnn", num_classes=3, channels=16, min_size=64, max_size=64)
        assert model.transform.image_mean == net.metadata["mean"]
        target = {"boxes": torch.tensor([[4.0, 4, 40, 40]]), "labels": torch.tensor([1])}
        losses = model.train()([torch.rand(3, 64, 64)], [target])
        assert all(loss.isfinite() for loss in losses.values())

    def test_other_strides_and_backbones_are_refused(self, tmp_path):
        net = universal(stem="cifar", base_channels=8, widths=(0.5,))
        with pytest.raises(UserError, match="strides 4 to 32, a cifar stem"):
            convert(net.extract(0.5), "torchvision-detection", tmp_path, of_width(net, 0.5))
        net = universal("mobilenetv2", widths=(0.5,))
        with pytest.raises(UserError, match="mobilenetv2 is no ResNet"):
            convert(net.extract(0.5), "torchvision-detection", tmp_path, of_width(net, 0.5))


def test_the_tool_writes_the_folder_and_takes_no_width(checkpoint, tmp_path):
    done = tool("convert", checkpoint, "--to", "hub", "--output", tmp_path / "hub")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hub/README.md").read_text().startswith("---\nlicense: other")
    done = tool("convert", checkpoint, "--to", "hub", "--width", 0.5)
    assert done.returncode == 2 and "--to hub writes all widths" in done.stderr
