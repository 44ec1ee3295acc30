"""A runtime with the number format of its file: ``openvino``, or ``openvino int8``."""

from collections.abc import Iterable, Sequence

from pretrain.common.errors import UserError, nearest
from transfer.convert import FORMATS, require
from transfer.runtimes import RUNTIMES

INT8 = " int8"
ALWAYS = ("torch", "onnxruntime")  # where no runtime is named, as far as they are installed


def runtime_of(variant: str) -> str:
    """``openvino int8`` -> ``openvino``."""
    return variant.removesuffix(INT8)


def is_int8(variant: str) -> bool:
    return variant.endswith(INT8)


def chosen(runtimes: Sequence[str] | None) -> list[str]:
    """The runtimes that are named, each once, or the installed ones of ``ALWAYS`` for None.

    Errors: UserError for one that is unknown or not installed.
    """
    if runtimes is None:
        return [runtime for runtime in ALWAYS if not FORMATS[RUNTIMES[runtime]].missing()]
    for runtime in runtimes:
        if runtime not in RUNTIMES:
            raise UserError(f"unknown runtime '{runtime}'{nearest(runtime, RUNTIMES)}")
        require(RUNTIMES[runtime])
    return list(dict.fromkeys(runtimes))


def with_int8(runtimes: Iterable[str]) -> list[str]:
    """Each runtime and its int8 form, also where it has none, which is said when it is asked for.

    Errors: UserError for a package that quantises and is not installed.
    """
    runtimes = list(runtimes)
    for runtime in runtimes:
        if FORMATS[RUNTIMES[runtime]].int8:
            require(RUNTIMES[runtime], int8=True)
    return [variant for runtime in runtimes for variant in (runtime, f"{runtime}{INT8}")]
