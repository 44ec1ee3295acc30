"""Which number format ``auto`` stands for."""

import pytest
import torch

from pretrain.precision import resolve_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("asked", ["fp32", "bf16", "fp16"])
def test_a_format_that_is_asked_for_is_used(asked):
    assert resolve_precision(asked, CPU) == asked


@pytest.mark.parametrize(
    ("avx512_bf16", "amx", "expected"), [(False, False, "fp32"), (True, False, "bf16"), (False, True, "bf16")]
)
def test_cpus_that_compute_in_bf16_use_it(monkeypatch, avx512_bf16, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert resolve_precision("auto", CPU) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_gpus_that_compute_in_bf16_use_it(monkeypatch, native, expected):
    """Those that only emulate it do not count."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert resolve_precision("auto", CUDA) == expected
