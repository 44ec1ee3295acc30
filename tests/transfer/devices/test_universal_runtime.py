"""One file, all widths: a call says its width, weights are shared, sessions are few, threads do not mix answers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from pretrain import UncalibratedWidthError, load_universal
from pretrain.common.errors import UserError
from tests.pretrain.helpers import universal
from tests.requirements import requires
from transfer.convert.export import TOLERANCE, difference
from transfer.devices.universal_runtime import UniversalRuntime

WIDTHS = (1.0, 0.75, 0.5)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    universal(base_channels=16, widths=WIDTHS).save(folder / "universal.safetensors")
    return folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)


def test_every_width_computes_the_bits_of_the_plain_network_without_weights_of_its_own(checkpoint, images):
    runtime, net = UniversalRuntime(checkpoint), load_universal(checkpoint)
    for width in WIDTHS:
        with torch.no_grad():
            expected = net.extract(width)(torch.from_numpy(images)).numpy()
        assert (runtime(images, width) == expected).all()
    assert runtime.widths == list(WIDTHS) and runtime.sessions == 3
    ours = {p.untyped_storage().data_ptr() for p in runtime.source.net.parameters()}
    shared = runtime.source.net.extract(0.5, share=True)
    assert all(p.untyped_storage().data_ptr() in ours for p in shared.parameters())
    alone = runtime.source.net.extract(0.5)
    assert not any(p.untyped_storage().data_ptr() in ours for p in alone.parameters())


@pytest.mark.parametrize(("name", "options"), [("mobilenetv2", {}), ("vit_tiny", {"image_size": 32})])
def test_other_backbones_share_their_weights_too(name, options):
    net, images = universal(name, widths=(0.5,), **options), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(net.extract(0.5, share=True)(images), net.extract(0.5)(images))


@requires("formats")
def test_sessions_are_made_when_asked_for_and_bounded(checkpoint, images):
    runtime = UniversalRuntime(checkpoint, "onnxruntime", most=1)
    assert runtime.sessions == 0
    plain = UniversalRuntime(checkpoint)
    for width in (0.75, 0.5, 0.75):
        found, expected = (torch.from_numpy(run(images, width)) for run in (runtime, plain))
        assert difference(found, expected) <= TOLERANCE
        assert runtime.sessions == 1


def test_threads_get_their_own_answers(checkpoint, images):
    runtime = UniversalRuntime(checkpoint)
    batches = [images + n for n in range(12)]
    expected = [runtime(batch, WIDTHS[n % 3]) for n, batch in enumerate(batches)]
    fresh = UniversalRuntime(checkpoint)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: fresh(batches[n], WIDTHS[n % 3]), range(12)))
    assert all((a == b).all() for a, b in zip(found, expected)) and fresh.sessions == 3


def test_the_wide_network_is_asked_where_the_narrow_one_is_unsure(checkpoint, images):
    runtime = UniversalRuntime(checkpoint)
    logits = {0.5: np.array([[9.0, 0.0], [0.1, 0.0], [0.0, 9.0]]), 1.0: np.array([[0.0, 5.0]])}
    heads = {width: lambda features, width=width: logits[width][: len(features)] for width in logits}
    found = runtime.cascade(images, heads, 0.5, 1.0, confidence=0.9)
    assert found.wide.tolist() == [False, True, False]
    assert found.scores.tolist() == [[9.0, 0.0], [0.0, 5.0], [0.0, 9.0]] and logits[0.5][1, 0] == 0.1
    assert not runtime.cascade(images, heads, 0.5, 1.0, confidence=0.5).wide.any()


def test_a_mistake_is_one_line(checkpoint, images):
    with pytest.raises(UserError, match="did you mean 'openvino'"):
        UniversalRuntime(checkpoint, "openvina")
    with pytest.raises(UncalibratedWidthError, match=r"calibrated widths: 1, 0.75, 0.5"):
        UniversalRuntime(checkpoint)(images, 0.3)
    with pytest.raises(UserError, match="most is 0"):
        UniversalRuntime(checkpoint, most=0)
