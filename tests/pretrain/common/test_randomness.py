"""Numbers that are functions of their keys: uniform, independent, and the same in any company."""

import numpy as np
import pytest

from pretrain.common.randomness import generator, torch_seed, uniforms

KEYS = np.array([[seed, index] for seed in range(20) for index in range(500)])


def test_hashed_numbers_are_uniform_and_uncorrelated_between_neighbours():
    x = uniforms("views", KEYS, 4)
    assert x.shape == (10000, 4) and x.min() >= 0 and x.max() < 1
    counts = np.histogram(x, bins=20, range=(0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 50  # chi-square of 19 degrees of freedom: 44 at 0.1 %
    for a, b in ((x[:-1, 0], x[1:, 0]), (x[:, 0], x[:, 1]), (x[:500, 2], x[500:1000, 2])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / len(a) ** 0.5


def test_a_row_depends_on_its_key_alone():
    whole = uniforms("views", KEYS, 3)
    assert np.array_equal(uniforms("views", KEYS[[7, 3]], 3), whole[[7, 3]])
    assert np.array_equal(uniforms("views", KEYS, 2), whole[:, :2])
    assert len(np.unique(whole[:, 0])) == len(KEYS)


def test_purposes_never_share_a_stream():
    assert not np.isclose(uniforms("views", KEYS[:5], 3), uniforms("order", KEYS[:5], 3)).any()
    assert torch_seed("views", 0, 1) != torch_seed("order", 0, 1)
    assert generator("views", 0).random() != generator("order", 0).random()
    with pytest.raises(ValueError):
        uniforms("nothing", KEYS[:1], 1)
