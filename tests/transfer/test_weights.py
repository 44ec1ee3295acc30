"""Any plain ResNet with torchvision's names as a start; what does not fit is named."""

import pytest
import torch

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from transfer.convert import convert
from transfer.weights import IMAGENET, load_weights


@pytest.fixture
def plain():
    """A plain ResNet-18 of width 0.25, its norms away from their initial values."""
    torch.manual_seed(0)
    full = create_backbone("resnet18", "imagenet")
    plain = full.plain(full.channels(0.25))
    for buffer in plain.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return plain.eval()


@pytest.fixture
def save(tmp_path):
    def run(state, name="weights.pth"):
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return run


def same(source, plain):
    images = torch.randn(1, 3, 32, 32)
    return torch.equal(source.plain(source.default_widths[0])(images), plain(images))


def test_torchvisions_own_network_loads(save):
    from torchvision.models import resnet18

    torch.manual_seed(0)
    theirs = resnet18().eval()
    source = load_weights(save(theirs.state_dict(), "supervised.pth"))
    assert (source.method, source.backbone, source.default_widths) == ("supervised", "resnet18", [1.0])
    assert (source.metadata["mean"], source.metadata["std"]) == (IMAGENET["mean"], IMAGENET["std"])
    assert not source.is_random and len(source.checkpoint_hash) == 64 and source.pretraining["file"] == "supervised.pth"
    theirs.fc = torch.nn.Identity()
    assert same(source, theirs)


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_depth_and_width_are_read_off_the_tensors(save, depth):
    full = create_backbone(f"resnet{depth}", "imagenet")
    source = load_weights(save(full.plain(full.channels(0.5)).state_dict()))
    assert (source.backbone, source.default_widths) == (f"resnet{depth}", [0.5])
    source.check_widths([0.5])
    with pytest.raises(UserError, match=f"no resnet{depth} of width 1; its channels are .*, width 0.5"):
        source.check_widths([1.0])


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.encoder."])
@pytest.mark.parametrize("container", [None, "state_dict", "model"])
def test_wrappers_are_looked_into(save, plain, prefix, container):
    state = {prefix + name: tensor for name, tensor in plain.state_dict().items()}
    state["projector.0.weight"] = torch.zeros(3)
    state[f"{prefix}fc.weight"] = torch.zeros(10, 128)
    assert same(load_weights(save({container: state, "epoch": 3} if container else state)), plain)


def test_what_convert_writes_is_read_with_its_normalisation(plain, tmp_path):
    metadata = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "method": "us3l", "data": {"image_size": 32}}
    for target in ("safetensors", "torchvision"):
        file, *_ = convert(plain, target, tmp_path, metadata)
        source = load_weights(file, "narrow")
        assert same(source, plain) and source.method == "narrow"
        assert source.metadata["mean"] == metadata["mean"] and source.metadata["std"] == metadata["std"]


def test_weights_from_elsewhere_are_normalised_as_imagenet(save, plain, tmp_path):
    file = save(plain.state_dict())
    assert load_weights(file).metadata["mean"] == IMAGENET["mean"]
    file.with_suffix(".json").write_text('{"epochs": 100}')
    assert load_weights(file).metadata["mean"] == IMAGENET["mean"]


def test_results_lie_apart_from_the_universal_checkpoints(save, plain, tmp_path):
    source = load_weights(save(plain.state_dict(), "moco_v2.pth"))
    assert source.folder(tmp_path, "coco", "detection", 0.25) == tmp_path / "coco/detection/width_0.25_moco_v2"


def test_old_files_may_lack_the_number_of_batches(save, plain):
    state = {name: t for name, t in plain.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert same(load_weights(save(state)), plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer2.1.bn2.bias"), "lacks layer2.1.bn2.bias; expected a ResNet-18"),
        (lambda s: s.pop("layer3.0.conv1.weight"), "has no layer3.0.conv1.weight; expected a ResNet"),
        (lambda s: s.update({"layer1.2.conv1.weight": torch.zeros(1), "x": torch.zeros(1)}),
         "has unexpected layer1.2.conv1.weight and 1 more"),
        (lambda s: s.update({"bn1.weight": torch.zeros(3)}), r"bn1.weight has the shape \[3\], not \[16\]"),
        (lambda s: s.pop("conv1.weight"), "has no conv1.weight with 3 input channels"),
        (lambda s: s.update({"teacher.conv1.weight": torch.zeros(4, 3, 7, 7)}), "holds several networks, , teacher."),
        (lambda s: s.clear(), "holds no state dict"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(save, plain, change, message):
    state = dict(plain.state_dict())
    change(state)
    with pytest.raises(UserError, match=message) as error:
        load_weights(save(state))
    assert "\n" not in str(error.value)


def test_files_that_are_no_weights_are_named(tmp_path, save, plain):
    for name in ("broken.pth", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(UserError, match=f"{name} cannot be read as weights") as error:
            load_weights(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="no such file"):
        load_weights(tmp_path / "absent.pth")
    with pytest.raises(UserError, match="'random' is no name for weights"):
        load_weights(save(plain.state_dict(), "random.pth"))
