"""A detection training owns its folder: a second one is refused before it writes anything."""

import json
import socket
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest

from pretrain.common.errors import UserError
from pretrain.run.liveness import identity, process_start
from pretrain.run.ownership import FILE_NAME
from tests.requirements import requires


@pytest.mark.parametrize(
    "module",
    [
        pytest.param("transfer.detection.detectron2.detector", marks=requires("detection")),
        pytest.param("transfer.detection.mmdet.detector", marks=requires("mmdet")),
    ],
)
def test_the_folder_of_a_live_training_is_refused(module, tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        owner = {**identity(), "host": socket.gethostname(), "pid": other.pid, "started": process_start(other.pid)}
        (tmp_path / FILE_NAME).write_text(json.dumps(owner))
        with pytest.raises(UserError, match=rf"belongs to process {other.pid} on .*, which is running"):
            import_module(module).launch(SimpleNamespace(folder=tmp_path))
        other.kill()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
