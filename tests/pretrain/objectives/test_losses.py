"""NT-Xent and MSE: values by a naive loop, gradients by the paper's formulas, in float64."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from pretrain.common.errors import UserError
from pretrain.objectives.losses import infonce, mse, negative_cosine, nt_xent, pair_loss, per_chunk, unit

TAU = 0.5


def rows(count: int = 5, size: int = 7, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64)


def tangent(z: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The part of ``gradient`` along the sphere at the unit rows ``z``: what normalisation lets through."""
    return gradient - (gradient * z).sum(1, keepdim=True) * z


def probabilities(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P: softmax over the candidates of every row, itself left out. Y: one at the positive."""
    n = len(z)
    p, y = np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        total = sum(math.exp(z[i] @ z[k] / TAU) for k in range(n) if k != i)
        for j in range(n):
            if j != i:
                p[i, j] = math.exp(z[i] @ z[j] / TAU) / total
        y[i, (i + n // 2) % n] = 1
    return p, y


def test_nt_xent_is_the_mean_of_minus_log_p_of_the_positive():
    student, target = rows(seed=1), rows(seed=2)
    p, y = probabilities(unit(torch.cat([student, target])).numpy())
    expected = -np.log(p[y == 1]).mean()
    assert nt_xent(student, target, TAU).item() == pytest.approx(expected, rel=1e-12)


def test_the_gradient_of_nt_xent_is_p_minus_y_times_z_over_tau():
    """dL/dZ = (P - Y) Z / tau as anchors plus (P - Y)^T Z / tau as candidates, over the 2B rows of the mean."""
    z = unit(torch.cat([rows(seed=1), rows(seed=2)])).requires_grad_()
    nt_xent(z[:5], z[5:], TAU).backward()
    p, y = (torch.from_numpy(a) for a in probabilities(z.detach().numpy()))
    full = ((p - y) + (p - y).T) @ z.detach() / TAU / len(z)
    torch.testing.assert_close(z.grad, tangent(z.detach(), full))


def test_the_gradient_of_mse_is_eq_8():
    """On unit vectors dL/dz_s = -z_t; through the normalisation -(I - z_s z_s^T) z_t / |z|, mean over rows."""
    raw, target = rows(seed=3).requires_grad_(), rows(seed=4)
    negative_cosine(raw, target).backward()
    z = unit(raw.detach())
    expected = tangent(z, -unit(target)) / raw.detach().norm(dim=1, keepdim=True) / len(raw)
    torch.testing.assert_close(raw.grad, expected)


def rotation(size: int, angle: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    skew = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return torch.linalg.matrix_exp(angle * (skew - skew.T))


def gradient(loss, student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of the loss with respect to unit students: a vector along the sphere for each row."""
    student = student.clone().requires_grad_()
    loss(student, target).backward()
    return student.grad


def test_mse_follows_a_common_rotation_of_the_targets_eq_10():
    """The gradient changes by (I - R) z_t (its part along the sphere, mean over rows), wherever the students are."""
    target, turn = unit(rows(seed=6)), rotation(7, 0.05)
    for seed in (7, 8):
        student = unit(rows(seed=seed))
        change = gradient(negative_cosine, student, target @ turn.T) - gradient(negative_cosine, student, target)
        torch.testing.assert_close(change, tangent(student, target - target @ turn.T) / len(student))


def test_infonce_is_robust_to_a_common_rotation_once_the_positive_is_found_eq_11():
    """tau times NT-Xent's gradient changes by ever less than MSE's as P_t -> 1, here by a falling temperature."""
    target, turn = unit(rows(seed=9)), rotation(7, 0.02)
    student = target.clone()
    mse_change = gradient(negative_cosine, student, target @ turn.T) - gradient(negative_cosine, student, target)
    shares, positive = [], []
    for tau in (0.5, 0.1, 0.05, 0.02):
        loss = partial(nt_xent, temperature=tau)
        before, after = (tau * gradient(loss, student, t) for t in (target, target @ turn.T))
        shares.append(((after - before).norm() / mse_change.norm()).item())
        positive.append(torch.softmax(student @ target.T / tau, dim=1).diagonal().min().item())
    assert positive == sorted(positive) and positive[-1] > 0.999
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.3 and shares[-1] < 1e-3


def test_the_two_orders_meet_opposite_views():
    student, target = (rows(seed=1), rows(seed=2)), (rows(seed=3), rows(seed=4))
    by_hand = (nt_xent(student[0], target[1], TAU) + nt_xent(student[1], target[0], TAU)) / 2
    torch.testing.assert_close(infonce(student, target, TAU), by_hand)
    by_hand = (negative_cosine(student[0], target[1]) + negative_cosine(student[1], target[0])) / 2
    torch.testing.assert_close(mse(student, target), by_hand)


def test_simclr_is_one_nt_xent_over_both_views():
    z = (rows(seed=1), rows(seed=2))
    torch.testing.assert_close(infonce(z, z, TAU), nt_xent(*z, TAU))
    torch.testing.assert_close(infonce(z, z, TAU), infonce(z, tuple(t.clone() for t in z), TAU))


@pytest.mark.parametrize("loss", [mse, pair_loss("infonce", TAU, gather=False)])
def test_chunks_are_the_mean_of_separate_losses(loss):
    student, target = rows(12, seed=1), rows(12, seed=2)
    parts = [
        loss((student[i : i + 2], student[i + 6 : i + 8]), (target[i : i + 2], target[i + 6 : i + 8]))
        for i in (0, 2, 4)
    ]
    torch.testing.assert_close(per_chunk(loss, student, target, 3), torch.stack(parts).mean())


def test_losses_are_at_least_fp32_under_autocast():
    student, target = rows(seed=1).bfloat16(), rows(seed=2).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for value in (nt_xent(student, target, TAU), negative_cosine(student, target)):
            assert value.dtype == torch.float32
    exact = nt_xent(student.float(), target.float(), TAU)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nt_xent(student, target, TAU), exact)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(UserError, match="temperature is 0; expected a number above 0"):
        pair_loss("infonce", 0.0, gather=False)
