"""The optional packages of detection."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from pretrain.common.errors import UserError


def require_detectron2() -> None:
    """UserError if detectron2 is absent."""
    if find_spec("detectron2") is None:
        raise UserError(
            "detectron2 is not installed; expected the extra 'detection' (make test and make demo install it)"
        )


def require_mmdet() -> None:
    """UserError if mmdet, or the mmcv with compiled operators that it needs, is absent."""
    missing = [name for name in ("mmdet", "mmcv", "mmcv._ext") if not present(name)]
    if missing:
        raise UserError(
            f"{missing[0]} is not installed; expected mmdet 3.3 and mmcv 2.1 with its operators: make env EXTRAS=mmdet "
            "(US3L_WHEELS names a folder with a compiled mmcv, else it is compiled: a quarter of an hour)"
        )


def present(module: str) -> bool:
    """Whether ``module`` can be found; it is not imported, but its parent package is."""
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Hide what the frameworks' own modules warn about python and torch: nobody here can act on it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        yield
