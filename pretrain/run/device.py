"""Where a run computes and how: number format, the order of channels in memory, compiled graphs.

channels_last: norms read channels side by side and convolutions need no reordering. On a CPU it took 2 to 5 % off the
step of ResNet-18 with the CIFAR stem and a fifth off one of a quarter of the channels. The exception was measured on
CPUs in fp32 (oneDNN 3.12, AVX-512): ResNet-18's last stage, 512 channels of a few pixels, whose convolutions take half
the time in NCHW (a tenth of the step); it holds for every ResNet of basic blocks.
"""

import inspect
import os

import torch
from torch import Tensor, nn

from pretrain.common.errors import UserError
from pretrain.slimmable.backbone import SlimBackbone
from pretrain.slimmable.resnet import SlimResNet

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
MOST_GRAPHS = 32  # sub-networks; each takes from seconds to minutes to compile


def choose_kernels(device: torch.device, deterministic: bool) -> None:
    """Choose among kernels that compute the same: those whose bits repeat, or the fastest. CPUs have but one choice.

    Deterministic is strict: an operation without such a kernel is an error. Attention then has neither flash nor
    memory-efficient kernels. Fresh memory is not filled: nothing here reads it before it is written, and the fills were
    half of all that a GPU was asked to do.
    """
    if device.type != "cuda":
        return
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS may sum in another order
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cuda.enable_flash_sdp(not deterministic)
    torch.backends.cuda.enable_mem_efficient_sdp(not deterministic)


def resolve_precision(precision: str, device: torch.device) -> str:
    """``auto`` -> bf16 on GPUs that compute in it and on CPUs that do (AVX-512 BF16 or AMX), else fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The autocast context of a precision; a disabled one for fp32."""
    return torch.autocast(device.type, dtype=DTYPES.get(precision, torch.bfloat16), enabled=precision in DTYPES)


def grad_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss for fp16, whose gradients underflow otherwise; does nothing for the others."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def lay_out(model: nn.Module, device: torch.device, precision: str) -> nn.Module:
    """``model`` on ``device``, in the formats that its step is fastest in there."""
    model = model.to(device, memory_format=torch.channels_last)
    if device.type == "cuda":
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
                module.weight.data = with_strides(module.weight.data)
    if device.type == "cpu" and precision == "fp32":
        for module in model.modules():
            if isinstance(module, SlimResNet) and module.blocks.basic:
                module.layer4.to(memory_format=torch.contiguous_format)
    return model


def with_strides(weight: Tensor) -> Tensor:
    """A weight [O, I, 1, 1] with the strides that cuDNN's gradient of it has: those of channels_last by the letter.

    ``to`` leaves them as they are where dimensions are 1. With others every gradient is copied before it is kept, and
    DistributedDataParallel warns of it.
    """
    return (
        torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
        .as_strided(weight.shape, (weight.shape[1], 1, weight.shape[1], weight.shape[1]))
        .copy_(weight)
    )


def compile_backbones(model: nn.Module, sub_networks: int, backend: str = "inductor") -> None:
    """Compile every slimmable backbone in ``model`` (its own and a momentum encoder's), in place.

    A graph holds for one width and one image shape. What one backbone compiles does not count against another.
    Errors: UserError where a run would draw more than ``MOST_GRAPHS`` sub-networks, or torch cannot bound the graphs.
    """
    if sub_networks > MOST_GRAPHS:
        raise UserError(
            f"training.compile would make a graph for each of {sub_networks} sub-networks; "
            f"expected at most {MOST_GRAPHS}, e.g. by sampling.grid = 0.125"
        )
    if "isolate_recompiles" not in inspect.signature(torch.compile).parameters:
        raise UserError(f"training.compile needs a newer torch than {torch.__version__}; expected 2.14 or later")
    for module in model.modules():
        if isinstance(module, SlimBackbone):
            # training and the eyes of the monitor see other batches: twice the graphs, never silently eager
            graphs = 2 * sub_networks + 2
            module.compile(backend=backend, dynamic=False, recompile_limit=graphs, isolate_recompiles=True)
