"""Every shell command in README.md runs.

A command is a line of a fenced ```bash block; a line that ends in a backslash goes on in the next, ``#`` starts a
comment. Each is a test of its own and runs in a copy of the repository made of links, so that the repository stays
clean: a tool alone as ``tests/forked.py`` runs it, anything else with bash. ``.venv`` there is the environment that
runs the tests. What commands read (checkpoints of earlier ones, a result, data sets) is there in miniature, made by
``inputs``: no command waits for another.

Each command is looked up in ``HOW_TO_RUN``: the first pattern that fits (``re.fullmatch``) says what to run in its
place, in the syntax of ``re.Match.expand``: ``\\g<0>`` is the whole command, ``\\1`` the first group. So

    (r"make (demo|test)", r"make --dry-run \\1"),                      # too long: only see that make knows how
    (r"(.*/tools/pretrain.py .*)", r"\\1 epochs=1 batch_size=8"),      # tiny overrides
    (r".*/tools/launch.py .*", r"\\g<0> --dry-run"),

A command that fits no pattern fails the test, as does a pattern that no command needs: add or remove its line here. A
pattern with a third element, ``requires=...``, runs its command only where that requirement (tests/requirements.py) is
met.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torchvision.utils import save_image

from pretrain.data.images.digits import digits
from tests import forked
from tests.pretrain.helpers import universal
from tests.requirements import demand, missing
from tests.transfer.detection.data.voc import TWO_YEARS, write_voc
from tests.transfer.helpers import a_result
from transfer.detection.data.scenes import SceneSettings, make_scenes

README = Path(__file__).resolve().parents[1] / "README.md"


class How(NamedTuple):
    """How a command of the README runs here: commands that fit ``pattern`` become ``instead``."""

    pattern: str
    instead: str
    requires: str | None = None


TINY = (
    "backbone.base_channels=8 training.iterations=4 training.batch_size=8 objective.hidden=16 "
    "calibration.widths=[1.0,0.75,0.5,0.25] calibration.batches=1 calibration.batch_size=8"
)
SHORT = "--checkpoint runs/us3l_resnet50_imagenet --iterations 1 --image-size 64 --batch 2 --device cpu"

CLAIMS = (
    "backbone.base_channels=8 objective.hidden=16 objective.outputs=8 training.iterations=2 training.batch_size=8 "
    "calibration.batch_size=8 calibration.batches=1"
)

HOW_TO_RUN = [
    How(r"make (demo|test)", r"make --dry-run \1"),
    How(r"(\S+ tools/pretrain.py .*_cifar10.py data.root=\S+)", rf"\1 {TINY} data.workers=0 --work-dir runs/begun"),
    How(
        r"\S+torchrun --nproc-per-node 8 (tools/pretrain.py .*_imagenet.py) data.root=\S+ --resume",
        rf".venv/bin/python -m torch.distributed.run --nproc-per-node 2 \1 --resume --device cpu "
        rf"--work-dir runs/resumed data.root=datasets/cifar10 data.image_size=64 data.workers=0 {TINY} "
        rf"training.chunks=2",
    ),
    How(r"(\S+ tools/pack.py) datasets/imagenet (\S+)", r"\1 datasets/cifar10 \2"),
    How(r"(.* tools/claims.py .*) --only b c", rf"\1 --only c --seeds 1 {CLAIMS}"),
    How(r"(.* tools/transfer.py folder .*)", r"\1 --epochs 2"),
    How(r"(.* tools/transfer.py coco .*) --num-gpus 8( --framework mmdet)", rf"\1\2 {SHORT}", "mmdet"),
    How(r"(.* tools/transfer.py coco .*) --num-gpus 8( --init random)?", rf"\1\2 {SHORT}", "detection"),
    How(r"(.* tools/transfer.py voc .*) --num-gpus 8", rf"\1 {SHORT}", "detection"),
    How(r"(.* tools/convert.py .*--to mmdet .*)", r"\1", "mmdet"),
    How(r"(.* tools/convert.py .* --to detectron2 .*)", r"\1", "detection"),
    How(r"(.* tools/convert.py .* --to timm)", r"\1", "formats"),
    How(r"(.* tools/convert.py .* --to onnx --fold-bn) .*", r"\1 --image-size 32", "formats"),
    How(r"(.* tools/latency.py .* --widths) .*", r"\1 0.5 --image-size 32 --repeats 1 --warm-up 0", "formats"),
    How(r"(.* tools/report.py .*)", r"\1"),
    How(r"(.* tools/benchmark.py .*) --batch 128 (.*)", r"\1 --batch 2 \2 --repeats 1 --base-channels 8"),
    How(
        r"(\S+ tools/launch.py pretrain \S+ .*) --data (\w+)=\S+",
        r"\1 --data \2=datasets/cifar10 --dry-run",
        "submitit",
    ),
    How(r"(\S+ tools/launch.py (transfer coco|grid .*) .*)", r"\1 --dry-run", "submitit"),
    How(
        r"(\S+ tools/launch.py) status runs/us3l_resnet50_imagenet",
        rf"\1 pretrain configs/pretrain/us3l_resnet50_imagenet.py --nodes 2 --cluster local --work-dir runs/launched "
        rf"data.root=datasets/cifar10 data.image_size=64 data.workers=0 {TINY} training.chunks=2 && "
        rf"\1 status runs/launched",
        "submitit",
    ),
    How(r"(.* tools/tables.py .*)", r"\1"),
]


def commands(markdown: str) -> list[str]:
    """The shell commands of a text's bash blocks, in order."""
    found = []
    for block in re.findall(r"^```bash\n(.*?)^```", markdown, flags=re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"(^|\s)#.*", "", line)
            if command.strip():
                found.append(" ".join(command.split()))
    return found


def how(command: str, table: list[How]) -> tuple[str, How] | None:
    """What to run for a command and the entry that says so; None if no entry fits."""
    for entry in table:
        match = re.fullmatch(entry.pattern, command)
        if match:
            return match.expand(entry.instead), entry
    return None


@pytest.fixture
def copy(tmp_path, repository):
    return linked(repository, tmp_path)


def test_the_lines_of_python_run(repository, monkeypatch):
    monkeypatch.chdir(repository)
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.DOTALL | re.MULTILINE)
    images = torch.randn(4, 3, 32, 32)
    names = {"images": images, "loader": [images, images]}
    exec(code, names)
    width = int(re.search(r"-> \[B, (\d+)\]", code)[1])
    assert names["features"].shape == (4, width)
    with torch.no_grad():
        assert torch.equal(names["backbone"](images), names["net"](images, 0.6))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, repository):
    """A copy of the repository that has what the commands read: two checkpoints, a result, images, scenes."""
    folder = linked(repository, tmp_path_factory.mktemp("readme"))
    for split in ("train", "test"):
        images, labels = digits(split)
        for i in range(24):
            path = folder / "datasets/cifar10" / split / str(int(labels[i]) % 2) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_image(images[i] / 255, path)
    write_voc(folder / "datasets", TWO_YEARS)
    for name, backbone in (("us3l_resnet18_cifar10", "resnet18"), ("us3l_resnet50_imagenet", "resnet50")):
        net = universal(backbone, widths=(1.0, 0.75, 0.5, 0.25), base_channels=8)
        net.save(folder / "runs" / name / "universal.safetensors")
    a_result().write(folder / "runs/us3l_resnet18_cifar10/transfer")
    if not missing("detection"):
        make_scenes(folder / "datasets/coco", SceneSettings(train=4, val=2, size=64))
    return folder


def linked(repository: Path, folder: Path) -> Path:
    """``folder`` with links to what is in the repository, without what tools write there."""
    for path in repository.iterdir():
        if path.name not in (".git", ".venv", "runs", "datasets", "build"):
            (folder / path.name).symlink_to(path)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run(command: str, folder: Path) -> str | None:
    """Run a command; None if it succeeded, else what it printed last."""
    program, *words = shlex.split(command)
    if program == ".venv/bin/python" and words[0].startswith("tools/") and "&&" not in words:
        done = forked.run([folder / words[0], *words[1:]], folder)
    else:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
    return None if done.returncode == 0 else f"exit code {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}"


def test_every_command_has_a_line_in_the_table():
    unknown = [command for command in commands(README.read_text(encoding="utf-8")) if how(command, HOW_TO_RUN) is None]
    assert not unknown, f"say in HOW_TO_RUN how to run: {unknown}"


def test_every_line_of_the_table_is_needed():
    found = [how(command, HOW_TO_RUN) for command in commands(README.read_text(encoding="utf-8"))]
    used = [answer[1] for answer in found if answer]
    assert not [entry.pattern for entry in HOW_TO_RUN if entry not in used]


@pytest.mark.parametrize("command", commands(README.read_text(encoding="utf-8")), ids=lambda command: command[-60:])
def test_a_command_runs(command, inputs):
    instead, entry = how(command, HOW_TO_RUN) or ("false", How(command, "false"))
    if entry.requires:
        demand(entry.requires)
    failure = run(instead, inputs)
    assert not failure, f"ran as: {instead}\n{failure}"


class TestTheMechanism:
    TEXT = """
Text with `make nothing` inside.

```bash
make demo          # eight minutes

# a comment alone
tools/x.py CONFIG \\
    --width 0.5    # half
```
```python
import pretrain
```
```bash
make test
```
"""

    def test_commands_are_the_lines_of_the_bash_blocks(self):
        assert commands(self.TEXT) == ["make demo", "tools/x.py CONFIG --width 0.5", "make test"]

    def test_the_first_pattern_that_fits_a_whole_command_says_what_runs(self):
        table = [How(r"make (demo|test)", r"make --dry-run \1"), How(r"make .*", "false")]
        assert how("make demo", table) == ("make --dry-run demo", table[0])
        assert how("make demo EXTRAS=slurm", table)[0] == "false"

    def test_groups_and_the_whole_command_can_be_used(self):
        assert how("tools/x.py A --width 0.5", [How(r"(\S+) .*", r"\g<0> --dry-run; \1 --help")])[0] == (
            "tools/x.py A --width 0.5 --dry-run; tools/x.py --help"
        )

    def test_a_command_without_an_entry_is_seen(self):
        assert how("rm -rf runs", HOW_TO_RUN) is None

    def test_a_failing_command_is_told_with_its_output(self, tmp_path):
        assert run("echo fine", tmp_path) is None
        assert "exit code 3:\nbroken" in run("echo broken; exit 3", tmp_path)

    def test_later_commands_see_what_earlier_ones_wrote_and_the_repository_does_not(self, copy, repository):
        assert run("mkdir -p runs/readme && touch runs/readme/x", copy) is None
        assert run("test -e runs/readme/x && test -e setup.cfg && .venv/bin/python -c 'import torch'", copy) is None
        assert not (repository / "runs" / "readme").exists()
