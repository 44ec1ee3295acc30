"""Universal checkpoints by their name on Hugging Face's hub: ``hf://owner/name``."""

import re
from importlib.util import find_spec
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.universal.file import FILE_NAME

NAME = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+)")  # a Path has lost a slash


def is_hub(path: str | Path) -> bool:
    """Whether it is a name on the hub and no path."""
    return str(path).startswith("hf:/")


def fetched(path: str | Path) -> Path:
    """The checkpoint in the hub's cache, fetched if it is not there. ``HF_HUB_OFFLINE=1`` fetches nothing.

    Errors: UserError without huggingface_hub, for what is no name, and for what the hub does not have.
    """
    found = NAME.fullmatch(str(path))
    if found is None:
        raise UserError(f"{path} is no name on the hub; expected hf://owner/name")
    if find_spec("huggingface_hub") is None:
        raise UserError(f"{path} needs huggingface_hub; expected the extra 'hub': pip install '.[hub]'")
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(found[1], FILE_NAME))
    except Exception as error:  # of its own kinds, of its network library, and of the system
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be had: {first[:200]}") from None
