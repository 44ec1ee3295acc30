"""Words of a grid's row, or behind ``--args``, that go to ``tools/transfer.py``: what they may say, and their name."""

import hashlib
import re

from pretrain.common.errors import UserError

# What a launch says by itself, once for each job, and where a person says it: (as an option of launch.py, in a row).
SAID = {
    "--width": ("--widths", "widths"), "--widths": ("--widths", "widths"), "--seed": ("--seeds", "seeds"),
    "--init": ("--init", "inits"), "--framework": ("--framework", "frameworks"), "--checkpoint": ("--checkpoint", "of"),
    "--output": ("--output", "--runs of launch.py"), "--data": ("--data NAME=FOLDER", "data of the preset"),
}  # fmt: skip
SHOWN = 40  # characters of a job's name that its arguments may take


def check_arguments(target: str, words: tuple[str, ...]) -> None:
    """UserError for words that say what the launch says by itself: the job would be recorded as one and run as another.

    A parser takes any beginning of an option, and its value behind an equals sign.
    """
    for word in words:
        flag = word.partition("=")[0]
        said = next((name for name in SAID if len(flag) > 2 and name.startswith(flag)), None)
        if said is not None:
            option, key = SAID[said]
            raise UserError(
                f"{flag} among the arguments for {target} is said by the launch itself; expected it"
                f" as {option} of launch.py transfer, or in a grid as {key}"
            )


def short_name(words: tuple[str, ...]) -> str:
    """Arguments as a part of a job's name, cut where they are long; different ones stay different."""
    text = re.sub(r"[^\w.=]+", "_", "_".join(words)).strip("_")
    if len(text) <= SHOWN:
        return text
    return f"{text[:SHOWN]}-{hashlib.sha256(repr(words).encode()).hexdigest()[:6]}"
