"""Whether a launch knows where its images lie."""

import pytest

from pretrain.common.errors import UserError
from slurm.data import check_data
from slurm.grid.graph import Command, Node
from slurm.presets import Preset


def pretraining(name: str, root: str = "") -> Node:
    overrides = (f"data.root={root}",) if root else ()
    command = Command("tools/pretrain.py", "c.py", overrides)
    return Node("x", "pretrain", {}, command, data=name, roots=(root,) if root else ())


def test_every_folder_of_a_data_set_is_checked(tmp_path):
    (tmp_path / "photos/train").mkdir(parents=True)
    good = pretraining("folder", f"{tmp_path}/photos")
    check_data([good], Preset(executor="local"))
    for nodes in ([pretraining("folder", "/nowhere"), good], [good, pretraining("folder", "/nowhere")]):
        with pytest.raises(UserError, match="no such folder: /nowhere; expected the root of the data set 'folder'"):
            check_data(nodes, Preset(executor="local"))


def test_a_data_set_whose_folder_only_one_of_its_jobs_names_is_refused(tmp_path):
    with pytest.raises(UserError, match="no folder is known for folder; expected --data folder=FOLDER,"):
        check_data([pretraining("folder"), pretraining("folder", str(tmp_path))], Preset(executor="local"))


def test_a_data_set_of_somebodys_own_needs_no_folder_and_a_given_one_exists(tmp_path):
    check_data([pretraining("mine:images"), pretraining("mine:images", str(tmp_path))], Preset(executor="local"))
    with pytest.raises(UserError, match="no such folder: /nowhere; expected the root of the data set 'mine:images'"):
        check_data([pretraining("mine:images", "/nowhere")], Preset(executor="local"))
