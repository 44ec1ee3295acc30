"""Memory formats change no figure."""

import torch

from pretrain.backbones import create_backbone
from pretrain.layout import lay_out


def test_formats_change_no_figure():
    torch.manual_seed(0)
    plain = create_backbone("resnet18", base_channels=8).double()
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    expected = plain(x, 0.5)
    expected.square().sum().backward()
    gradients = {name: p.grad for name, p in plain.named_parameters()}
    for precision in ("fp32", "bf16"):
        plain.zero_grad()
        laid_out = lay_out(plain, torch.device("cpu"), precision)
        found = laid_out(x.contiguous(memory_format=torch.channels_last), 0.5)
        found.square().sum().backward()
        torch.testing.assert_close(found, expected)
        for name, p in laid_out.named_parameters():
            torch.testing.assert_close(p.grad, gradients[name], msg=name)


def test_only_the_last_stage_of_resnet18_in_fp32_is_nchw():
    def last(name: str, precision: str) -> list[bool]:
        model = lay_out(create_backbone(name, base_channels=8), torch.device("cpu"), precision)
        weights = (model.layer3[1].conv2.weight, model.layer4[1].conv2.weight)
        return [weight.is_contiguous(memory_format=torch.channels_last) for weight in weights]

    assert last("resnet18", "fp32") == [True, False]
    assert last("resnet18", "bf16") == last("resnet50", "fp32") == [True, True]
