"""docs/extending.md is true: its files and diffs go into a copy of the suite, and its commands are run there in order.

Trainings are made tiny; everything else is as a reader types it.
"""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests import forked

BLOCK = re.compile(r"(?:^`([\w./]+)`\n)?^```(python|json|bash|diff)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TINY = (
    "backbone.base_channels=8", "objective.hidden=16", "objective.outputs=8", "training.iterations=2",
    "training.batch_size=8", "data.images_per_class=4", "calibration.widths=[1.0,0.5,0.25]", "calibration.batch_size=8",
    "calibration.batches=1",
)  # fmt: skip


def sections(repository: Path) -> dict[str, list[tuple[str, str, str]]]:
    """Blocks (file name, language, text) by their section."""
    _, *parts = re.split(r"^## (.*)$", (repository / "docs/extending.md").read_text(), flags=re.MULTILINE)
    return {title: BLOCK.findall(text) for title, text in zip(parts[::2], parts[1::2], strict=True)}


TITLES = [title for title, blocks in sections(Path(__file__).resolve().parents[2]).items() if blocks]


@pytest.mark.parametrize("title", TITLES)
def test_a_section_works_as_it_stands(title, repository, tmp_path):
    for name in ("tools", "configs", "pretrain", "transfer", "benchmark", "slurm"):
        shutil.copytree(repository / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, language, text in sections(repository)[title]:
        if language in ("python", "json"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
            continue
        if language == "diff":
            change(tmp_path, text)
            continue
        for command in text.splitlines():
            done = run(command, tmp_path)
            assert done.returncode == 0, f"{command}\n{done.stdout[-800:]}\n{done.stderr[-1500:]}"


def run(command: str, folder: Path):
    """What a command returns and prints: ``[NAME=VALUE ...] python ...``, or a tool, whose trainings are made tiny."""
    words, environment = shlex.split(command), dict(os.environ)
    environment.pop("PYTHONPATH", None)
    while re.match(r"\w+=", words[0]):
        name, environment[name] = words.pop(0).split("=", 1)
    if words[0] == "python":
        words.pop(0)
    else:
        words[0] = str(folder / words[0])
        assert os.access(words[0], os.X_OK)
    words += TINY if words[0].endswith("tools/pretrain.py") else []
    return forked.run(words, folder, forked.LIBRARIES, environment)


def change(folder: Path, diff: str) -> None:
    """Replace the lines that the diff takes, wherever they stand, by those that it leaves."""
    path, lines = re.search(r"^\+\+\+ b/(.*)$", diff, re.MULTILINE)[1], diff.splitlines()[3:]
    old, new = ("".join(f"{line[1:]}\n" for line in lines if line[0] in kept) for kept in (" -", " +"))
    text = (folder / path).read_text()
    assert text.count(old) == 1, f"{path} does not hold\n{old}"
    (folder / path).write_text(text.replace(old, new))


def test_every_file_has_a_name(repository):
    blocks = (block for section in sections(repository).values() for block in section)
    assert all(name for name, language, _ in blocks if language in ("python", "json"))
