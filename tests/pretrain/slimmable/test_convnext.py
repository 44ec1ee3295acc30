"""ConvNeXt V2: timm's own network at every width, and costs that timm's network has too."""

import pytest
import torch

from pretrain import UserError
from pretrain.backbones import create_backbone
from pretrain.plain.convnext import SIZES, ConvNeXtChannels
from pretrain.universal import backbone_cost
from transfer.convert import convert

timm = pytest.importorskip("timm")


def trained(name, patch_size=4):
    """As after a training: response normalisation away from its beginning at 0."""
    torch.manual_seed(0)
    backbone = create_backbone(name, patch_size=patch_size)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return backbone.eval()


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("width", [1.0, 0.6, 0.25])
def test_timms_network_of_these_channels_takes_the_weights_strictly(name, width):
    from fvcore.nn import FlopCountAnalysis

    backbone, x = trained(name), torch.randn(2, 3, 64, 64)
    channels = backbone.channels(width)
    plain = backbone.plain(channels)
    state = {n: backbone.cut(n, t, channels, plain.state_dict()[n].shape) for n, t in backbone.state_dict().items()}
    theirs = timm.create_model(name, dims=channels.stages, num_classes=0).eval()
    theirs.load_state_dict(state, strict=True)
    torch.testing.assert_close(backbone(x, width), theirs(x), rtol=1e-4, atol=1e-4)
    plain.load_state_dict(state, strict=True)
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in theirs.parameters())
    counts = FlopCountAnalysis(theirs, x[:1]).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    convolutions = counts.by_operator()["conv"]
    assert backbone_cost(backbone, width, 64).macs == convolutions


def test_what_is_written_for_timm_builds_timms_own_network(tmp_path):
    channels = ConvNeXtChannels((24, 40, 80, 160))
    plain, small = (trained("convnextv2_atto", size).plain(channels).eval() for size in (1, 2))
    metadata = {"mean": [0.5] * 3, "std": [0.5] * 3, "method": "us3l", "data": {"image_size": 32}}
    code, weights, *_ = convert(plain, "timm", tmp_path, metadata)
    assert "dims=(24, 40, 80, 160)" in code.read_text() and "patch_size=1" in code.read_text()
    assert torch.load(weights).keys() == plain.state_dict().keys()
    with pytest.raises(UserError, match="halves maps once more after patches of 2 px; expected patch_size = 4 or 1"):
        convert(small, "timm", tmp_path, metadata)


def test_images_that_vanish_are_refused():
    with pytest.raises(UserError, match="images of 16 x 16 px; convnextv2_atto takes at least 32 px"):
        trained("convnextv2_atto")(torch.randn(1, 3, 16, 16), 1.0)
