"""Calibration: exact pooled moments, all widths in one pass."""

import pytest
import torch
from torch.nn import functional as F

from pretrain.backbones import create_backbone
from pretrain.common.errors import UserError
from pretrain.slimmable.calibrate import batch_norms, calibrate


def batches(count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 3, 32, 32, generator=generator) * (1 + i) + i for i in range(count)]


def test_the_first_norm_sees_the_pooled_moments_of_its_inputs():
    """Against the moments of all inputs put together, in float64."""
    backbone, data = create_backbone("resnet18", base_channels=16), batches()
    found = calibrate(backbone, data, [0.6])[backbone.channels(0.6).key]
    c = backbone.channels(0.6).stem
    inputs = torch.cat([F.conv2d(x, backbone.conv1.weight[:c], None, 2, 3) for x in data]).double()
    mean, variance = found["bn1"]
    torch.testing.assert_close(mean.double(), inputs.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance.double(), inputs.var((0, 2, 3), unbiased=False), rtol=1e-6, atol=1e-6)


def test_later_norms_see_inputs_that_were_normalised_batch_by_batch():
    """A plain network in training mode with momentum 1 records each batch's moments; pooled by hand they agree."""
    backbone, data = create_backbone("resnet18", "cifar", base_channels=16), batches()
    found = calibrate(backbone, data, [1.0])[backbone.channels(1.0).key]
    plain = backbone.plain(backbone.channels(1.0)).train()
    plain.load_state_dict(backbone.state_dict(), strict=False)
    seen = {}

    def record(name):
        return lambda module, inputs: seen.setdefault(name, []).append(inputs[0].detach().double())

    for name, module in plain.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(record(name))
    for x in data:
        plain(x)
    assert set(seen) == set(found)
    for name, inputs in seen.items():
        inputs = torch.cat(inputs)
        torch.testing.assert_close(found[name][0].double(), inputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[name][1].double(), inputs.var((0, 2, 3), unbiased=False), rtol=1e-4, atol=1e-5)


def test_all_widths_share_one_pass_and_equal_separate_passes():
    backbone, passes = create_backbone("resnet18", base_channels=16), []

    def loader():
        passes.append(1)
        yield from batches()

    together = calibrate(backbone, loader(), [1.0, 0.5, 0.25])
    assert len(passes) == 1
    for width in (1.0, 0.5, 0.25):
        key = backbone.channels(width).key
        alone = calibrate(backbone, batches(), [width])[key]
        assert all(torch.equal(together[key][n][i], alone[n][i]) for n in batch_norms(backbone) for i in (0, 1))


def test_no_batch_is_an_error():
    with pytest.raises(UserError, match="at least one batch"):
        calibrate(create_backbone("resnet18", base_channels=8), [], [1.0])
