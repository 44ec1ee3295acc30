"""docs/extending.md is true: its files are written into an empty folder and its commands are run there, in their order.

Trainings are made tiny; everything else is as a reader types it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = re.compile(r"(?:^`([\w.]+)`\n)?^```(python|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TINY = (
    "backbone.base_channels=8 objective.hidden=16 objective.outputs=8 training.iterations=2 training.batch_size=8 "
    "data.images_per_class=4 calibration.widths=[1.0,0.5,0.25] calibration.batch_size=8 calibration.batches=1"
)


def sections(repository: Path) -> dict[str, list[tuple[str, str, str]]]:
    """Blocks (file name, language, text) by their section."""
    _, *parts = re.split(r"^## (.*)$", (repository / "docs/extending.md").read_text(), flags=re.MULTILINE)
    return {title: BLOCK.findall(text) for title, text in zip(parts[::2], parts[1::2], strict=True)}


TITLES = list(sections(Path(__file__).resolve().parents[2]))


@pytest.mark.parametrize("title", TITLES)
def test_a_section_works_as_it_stands(title, repository, tmp_path):
    for name in ("tools", "configs", "pretrain", "transfer", "benchmark", "slurm"):
        (tmp_path / name).symlink_to(repository / name)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": "."}
    for name, language, text in sections(repository)[title]:
        if language == "python":
            (tmp_path / name).write_text(text)
            continue
        for command in text.splitlines():
            sized = f"{command} {TINY}" if "tools/pretrain.py" in command else command
            sized = sized.replace("tools/pretrain.py", f"{sys.executable} tools/pretrain.py")
            done = subprocess.run(["bash", "-c", sized], cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}\n{done.stdout[-800:]}\n{done.stderr[-1500:]}"


def test_every_python_block_has_a_name(repository):
    assert all(name for blocks in sections(repository).values() for name, language, _ in blocks if language == "python")
