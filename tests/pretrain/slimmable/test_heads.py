"""The heads' shapes and which of their parts shrink."""

import torch

from pretrain.slimmable.heads import predictor, projector
from pretrain.slimmable.norms.statistics import BatchStatistics


def test_the_projector_takes_the_first_features_and_keeps_its_own_size():
    head = projector(64, hidden=32, outputs=16)
    narrow = torch.randn(8, 24)
    padded = torch.cat([narrow, torch.zeros(8, 40)], dim=1)
    out = head(narrow, BatchStatistics())
    assert out.shape == (8, 16)
    torch.testing.assert_close(out, head(padded, BatchStatistics()))


def test_the_projector_is_three_linears_with_two_norms():
    head = projector(512)
    assert [tuple(linear.weight.shape) for linear in head.linears] == [(2048, 512), (2048, 2048), (256, 2048)]
    assert len(head.norms) == 2 and head.final_norm is None


def test_the_final_norm_has_no_affine_parameters_and_centres_the_output():
    head = projector(8, hidden=16, outputs=4, final_norm=True)
    assert list(head.final_norm.parameters()) == []
    out = head(torch.randn(32, 8), BatchStatistics())
    torch.testing.assert_close(out.mean(0), torch.zeros(4), atol=1e-5, rtol=0)


def test_the_predictor_keeps_the_size_and_its_first_linear_has_no_bias():
    head = predictor(256)
    assert [tuple(linear.weight.shape) for linear in head.linears] == [(2048, 256), (256, 2048)]
    assert head.linears[0].bias is None and head.linears[1].bias is not None
