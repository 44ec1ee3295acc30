"""A detection training owns its folder: a second one is refused before it writes anything."""

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from pretrain.run.liveness import identity, process_start
from pretrain.run.ownership import FILE_NAME
from tests.requirements import requires
from tests.transfer.detection.recipes import DIGITS
from transfer.detection import detect as module
from transfer.detection.framework import find_framework
from transfer.recipes import FOLDERS


@pytest.fixture
def place(settings, source, tmp_path, monkeypatch):
    """Settings -> the folder that a training with them owns."""

    def place(settings):
        with monkeypatch.context() as patched:
            patched.setattr(module, "start", lambda *_: None)
            return module.detected(source, 0.5, settings, tmp_path).parent

    return place


@pytest.mark.parametrize(
    ("framework", "recipe"),
    [
        pytest.param("detectron2", DIGITS, marks=requires("detection")),
        pytest.param("mmdet", FOLDERS["mmdet"] / "mask_rcnn_fpn_small.py", marks=requires("detection", "mmdet")),
    ],
)
def test_the_folder_of_a_live_training_is_refused(framework, recipe, place, source, settings, tmp_path):
    settings = replace(settings, framework=framework, recipe=recipe)
    folder = place(settings)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        owner = {**identity(), "host": socket.gethostname(), "pid": other.pid, "started": process_start(other.pid)}
        (folder / FILE_NAME).write_text(json.dumps(owner))
        with pytest.raises(UserError, match=rf"belongs to process {other.pid} on .*, which is running"):
            module.detect(source, 0.5, settings, tmp_path)
        other.kill()
    found = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != FILE_NAME}
    assert found.keys() == before.keys() and all(found[path] == before[path] for path in found if path.is_file())


@requires("detection")
def test_what_determines_a_result_has_a_place_of_its_own(source, settings, tmp_path):
    """Seeds, settings and annotations; not what a machine chooses."""

    def place(settings, source=source):
        return module.located(source, settings, find_framework("detectron2"), tmp_path)[2]

    changes = (
        {}, {"seed": 1}, {"seed": 2}, {"iterations": 3}, {"image_size": 32}, {"overrides": ("optimizer.lr=0.5",)},
        {"boxes_only": True},
    )  # fmt: skip
    folders = [place(replace(settings, **change)) for change in changes]
    folders.append(place(settings, replace(source, checkpoint_hash="f" * 64)))
    assert len(set(folders)) == len(folders) and len({folder.parent for folder in folders}) == 1
    assert place(settings) == folders[0] == place(replace(settings, device=None))


@requires("detection")
def test_the_weights_of_a_training_are_those_that_were_converted(source, settings, tmp_path, monkeypatch):
    start = module.start

    def meddle(function, job, *others):
        Path(job.weights).write_bytes(b"another's")
        start(function, job, *others)

    monkeypatch.setattr(module, "start", meddle)
    with pytest.raises(UserError, match="mask_rcnn_fpn.pth is not the backbone that was converted"):
        module.detect(source, 0.5, settings, tmp_path)
    assert not list(tmp_path.rglob("model_final.pth"))
