"""NT-Xent and MSE: values by a naive loop, gradients by the paper's formulas, in float64."""

import math

import numpy as np
import pytest
import torch

from pretrain.errors import UserError
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


def test_the_gradient_of_a_student_with_detached_candidates_is_eq_9():
    """Only anchors: dL/dz_s = (sum_j P_j z_j - z_t) / tau for each anchor's own term."""
    z = unit(torch.cat([rows(seed=1), rows(seed=2)]))
    p, y = (torch.from_numpy(a) for a in probabilities(z.numpy()))
    anchor = z[:1].clone().requires_grad_()
    logits = (anchor @ z.T / TAU).masked_fill(torch.eye(10, dtype=torch.bool)[:1], -torch.inf)
    torch.nn.functional.cross_entropy(logits, torch.tensor([5])).backward()
    torch.testing.assert_close(anchor.grad[0], (p[0] @ z - z[5]) / TAU)
    torch.testing.assert_close(anchor.grad[0], ((p - y) @ z / TAU)[0])


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


def relative_gradient(student: torch.Tensor, targets: torch.Tensor, index: int, tau: float) -> torch.Tensor:
    """tau times the gradient of an InfoNCE anchor (targets as candidates): sum_j P_j z_j - z_t."""
    p = torch.softmax(student @ targets.T / tau, dim=0)
    return p @ targets - targets[index]


def test_mse_follows_a_common_rotation_of_the_targets_eq_10():
    """The gradient changes by (I - R) z_t, wherever the student is."""
    target, turn = unit(rows(seed=6))[0], rotation(7, 0.05)
    for seed in (7, 8):
        student = unit(rows(seed=seed))[:1].requires_grad_()
        (before,) = torch.autograd.grad(-(student[0] @ target), student)
        (after,) = torch.autograd.grad(-(student[0] @ (turn @ target)), student)
        torch.testing.assert_close((after - before)[0], target - turn @ target)


def test_infonce_is_robust_to_a_common_rotation_once_the_positive_is_found_eq_11():
    """Change (I - R)(z_t - sum_j P_j z_j) up to the change of P: it vanishes as P_t -> 1 while MSE's stays."""
    targets, turn = unit(rows(size=7, seed=9)), rotation(7, 0.02)
    mse_change = (targets[0] - turn @ targets[0]).norm()
    changes = []
    for tau in (0.5, 0.1, 0.05, 0.02):
        student = targets[0]
        p = torch.softmax(student @ targets.T / tau, dim=0)
        fixed_p = (torch.eye(7, dtype=torch.float64) - turn) @ (targets[0] - p @ targets)
        rotated = p @ (targets @ turn.T) - turn @ targets[0]
        torch.testing.assert_close(rotated - relative_gradient(student, targets, 0, tau), fixed_p)
        changes.append((fixed_p.norm() / mse_change).item())
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 0.3 and changes[-1] < 1e-3


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
