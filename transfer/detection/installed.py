"""The optional packages of detection."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from pretrain.errors import UserError


def require_detectron2() -> None:
    """UserError if detectron2 is absent."""
    if find_spec("detectron2") is None:
        raise UserError(
            "detectron2 is not installed; expected the extra 'detection' (make test and make demo install it)"
        )


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Hide what detectron2's own modules warn about python and torch: nobody here can act on it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        yield
