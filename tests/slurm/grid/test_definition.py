"""Grid files: what they expand to, what they share, and what is refused."""

from pathlib import Path

import pytest

from pretrain.common.errors import UserError
from pretrain.common.repository import CONFIGS, ROOT
from slurm.folder import place
from slurm.grid.definition import fitting, load_graph
from tests.pretrain.helpers import tiny_config
from transfer.recipes import recipe_hash

DIGITS = "configs/pretrain/us3l_resnet18_digits.py"
CIFAR = "configs/pretrain/us3l_resnet18_cifar10.py"
GRID = f"""
pretrain = dict(
    us3l=dict(config="{DIGITS}"),
    narrow=dict(config="{DIGITS}", overrides=["width_range=[0.25,0.25]", "calibration.widths=[0.25]"]),
)
transfer = [
    dict(of="*", target="digits", widths=[1.0, 0.25], seeds=[0, 1]),
    dict(of="us3l", target="coco", widths=[0.5], inits=["pretrained", "random"], frameworks=["detectron2", "mmdet"]),
]
tables = [dict(table="5", formats=["markdown", "latex"])]
"""


@pytest.fixture
def write(tmp_path):
    def write_grid(text: str, name: str = "grid.py") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write_grid


def test_a_grid_is_pretrainings_transfers_of_each_width_seed_and_framework_and_tables(write):
    graph = load_graph(write(GRID), gpus=0)
    kinds = [node.kind for node in graph.nodes.values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {"pretrain": 2, "transfer": 6 + 4, "convert": 2, "tables": 2}
    assert "grid/narrow/digits-w0.25-s1" in graph.nodes, "a width outside of a run's range is left out"
    assert "grid/narrow/digits-w1-s0" not in graph.nodes
    coco = "grid/us3l/coco-mmdet-random-w0.5-s0"
    assert graph.needs(coco) == ["grid/us3l", "grid/us3l/mmdet-0.5"]
    assert len(graph.needs("grid/table5-latex")) == 10


def test_commands_name_the_folders_of_what_they_need(write, tmp_path):
    entries = {entry.name: entry for entry in place(load_graph(write(GRID), gpus=0), tmp_path / "nodes")}
    us3l, digits = entries["grid/us3l"], entries["grid/us3l/digits-w0.25-s1"]
    table = entries["grid/table5-latex"]
    argv = {one.name: one.node.command.argv()[1:] for one in (us3l, digits, table)}
    assert argv["grid/us3l"] == [
        f"{ROOT}/tools/pretrain.py", str(ROOT / DIGITS), "--work-dir", str(us3l.path), "--resume",
    ]  # fmt: skip
    assert argv["grid/us3l/digits-w0.25-s1"] == [
        f"{ROOT}/tools/transfer.py", "digits", "--width", "0.25", "--seed", "1",
        "--checkpoint", f"{us3l.path}/universal.safetensors", "--output", str(digits.path),
    ]  # fmt: skip
    assert argv["grid/table5-latex"] == [
        f"{ROOT}/tools/tables.py", f"{table.path}/results", "--table", "5", "--format", "latex", "--paper",
        "--output", str(table.path),
    ]  # fmt: skip
    assert str(digits.path) in table.node.collect


def test_a_changed_setting_changes_what_depends_on_it_and_nothing_else(write):
    before = load_graph(write(GRID), gpus=0).hashes
    text = GRID.replace(f'us3l=dict(config="{DIGITS}"', f'us3l=dict(config="{DIGITS}", overrides=["optimizer.lr=0.1"]')
    after = load_graph(write(text), gpus=0).hashes
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if name.startswith(("grid/us3l", "grid/table5"))}


def test_a_changed_recipe_changes_the_detectors_that_are_trained_by_it(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "faster_rcnn_fpn_voc.py"  # as the framework's own is called
    text = f"""pretrain = dict(us3l=dict(config="{DIGITS}"))
transfer = [dict(of="us3l", target="voc", widths=[1.0], frameworks=["mmdet"], arguments=["--config", "{recipe.name}"])]
"""
    usual = text.replace(f', arguments=["--config", "{recipe.name}"]', "")

    def detector(text=text):
        (found,) = (node for node in load_graph(write(text), gpus=0).nodes.values() if node.kind == "transfer")
        return found

    recipe.write_text("model = 1")
    before = detector()
    assert before.command.words == ("--config", str(recipe)), "wherever the job runs"
    recipe.write_text("model = 2")
    assert detector().settings != before.settings
    own = CONFIGS / "transfer/mmdet" / recipe.name
    assert detector(usual).settings["files"] == {recipe.name: recipe_hash(own)}, "of the framework that trains it"
    recipe.unlink()
    with pytest.raises(UserError, match="^no such recipe: faster_rcnn_fpn_voc.py; expected a file"):
        detector()


def test_other_images_are_another_pretraining_and_another_evaluation(write):
    text = f"""pretrain = dict(
    birds=dict(config="{DIGITS}", overrides=["data.name=folder", "data.root=/d/birds"]),
    cars=dict(config="{DIGITS}", overrides=["data.name=folder", "data.root=/d/cars"]),
    preset=dict(config="{DIGITS}", overrides=["data.name=folder"]),
)
transfer = [dict(of="*", target=target, widths=[1.0]) for target in ("folder", "coco", "flowers")]
"""
    one = load_graph(write(text), 0, {"folder": "/d/one", "coco": "/d/coco", "flowers": "/a"})
    assert len(one.nodes) == 3 + 9 + 3, "and a conversion for each detector"
    other = load_graph(write(text), 0, {"folder": "/d/other", "coco": "/d/coco_mini", "flowers": "/b"})
    same = {name for name in one.nodes if one.hashes[name] == other.hashes[name]}
    assert same == {
        "grid/birds", "grid/cars", "grid/birds/flowers-w1-s0", "grid/cars/flowers-w1-s0", "grid/birds/detectron2-1",
        "grid/cars/detectron2-1",
    }, "a name that tells which images they are tells it wherever they lie"  # fmt: skip


def test_weights_to_start_from_are_told_by_their_bytes(write, tmp_path):
    paths = [tmp_path / name for name in ("a.pth", "b.pth", "c.pth")]
    for path, content in zip(paths, (b"one", b"two", b"one"), strict=True):
        path.write_bytes(content)
    rows = [f'{path.stem}=dict(config="{DIGITS}", overrides=["backbone.weights={path}"])' for path in paths]
    graph = load_graph(write(f'pretrain = dict(none=dict(config="{DIGITS}"), {", ".join(rows)})'), 0)
    assert list(graph.nodes) == ["grid/none", "grid/a", "grid/b"], "c is a under another name"


def test_a_detector_of_more_processes_is_another_one_unless_its_batch_is_said(write):
    text = f"""pretrain = dict(us3l=dict(config="{DIGITS}"))
transfer = [dict(of="us3l", target="coco", widths=[1.0], gpus=GPUS),
    dict(of="us3l", target="coco", widths=[1.0], gpus=GPUS, arguments=["--batch", "8"])]
"""
    one, eight = (load_graph(write(text.replace("GPUS", gpus)), 0).hashes for gpus in "18")
    assert {name for name in one if one[name] != eight[name]} == {"grid/us3l/coco-detectron2-w1-s0"}


def test_what_only_the_machine_knows_changes_nothing(write):
    before = load_graph(write(GRID), gpus=0).hashes
    text = GRID.replace(f'us3l=dict(config="{DIGITS}"', f'us3l=dict(config="{DIGITS}", overrides=["data.workers=7"]')
    assert load_graph(write(text), gpus=0).hashes == before


def test_a_pattern_of_configs_is_one_pretraining_each(write):
    text = 'pretrain = dict(all=dict(config="configs/pretrain/us3l_resnet18_cifar*.py"))'
    graph = load_graph(write(text + '\ntransfer = [dict(of="*_cifar10", target="folder", widths=[0.5])]'), gpus=4)
    assert list(graph.nodes) == [
        "grid/us3l_resnet18_cifar10", "grid/us3l_resnet18_cifar100", "grid/us3l_resnet18_cifar10/folder-w0.5-s0",
    ]  # fmt: skip


def test_a_row_of_a_table_is_named_alike_and_a_pattern_is_one_pretraining_each(write):
    text = 'pretrain = dict(one=dict(config="configs/pretrain/table9.py:both"), all=dict(config="{}"))'
    graph = load_graph(write(text.format("configs/pretrain/table7.py:case1[01]")), gpus=4)
    assert list(graph.nodes) == ["grid/one", "grid/case10", "grid/case11"]
    assert graph.nodes["grid/one"].command.subject == f"{ROOT}/configs/pretrain/table9.py:both"
    with pytest.raises(UserError, match="did you mean 'configs/pretrain/table7.py:case12'"):
        load_graph(write('pretrain = dict(x=dict(config="configs/pretrain/table7.py:cas12"))'), gpus=4)


def test_grids_that_include_others_share_what_they_have_in_common(write, tmp_path):
    write(GRID, "first.py")
    write(GRID.replace("seeds=[0, 1]", "seeds=[0]").replace("us3l=", "ours=").replace('"us3l"', '"ours"'), "second.py")
    both = load_graph(write('include = ["first.py", "second.py"]', "both.py"), gpus=0)
    first = load_graph(tmp_path / "first.py", gpus=0)
    assert {n for n in both.nodes if not n.startswith("first/")} == {"second/table5-markdown", "second/table5-latex"}
    assert {first.hashes[n] for n in first.nodes} <= {both.hashes[n] for n in both.nodes}


def test_a_table_shows_the_transfers_of_included_grids_too(write, tmp_path):
    write(GRID, "first.py")
    first = [n for n in load_graph(tmp_path / "first.py", gpus=0).nodes.values() if n.kind == "transfer"]
    other = f'''pretrain = dict(x=dict(config="{DIGITS}", overrides=["optimizer.lr=0.2"]))
transfer = [dict(of="x", target="digits", widths=[1.0])]'''
    alone = write(f'{other}\ntables = [dict(table="5", formats=["csv"])]', "alone.py")
    both = write(f'{other}\ntables = [dict(table="5", formats=["csv"])]\ninclude = ["first.py"]', "both.py")
    only = write('tables = [dict(table="5", formats=["csv"])]\ninclude = ["first.py"]', "only.py")
    shown = {
        path.stem: set(load_graph(path, gpus=0).nodes[f"{path.stem}/table5-csv"].collect)
        for path in (alone, both, only)
    }
    assert shown["only"] == {node.name for node in first}
    assert shown["both"] == shown["only"] | {"both/x/digits-w1-s0"} and shown["alone"] == {"alone/x/digits-w1-s0"}


def test_grids_of_one_name_that_differ_are_refused(write, tmp_path):
    for folder, rate in (("a", 0.1), ("b", 0.2)):
        (tmp_path / folder).mkdir()
        text = f'pretrain = dict(x=dict(config="{DIGITS}", overrides=["optimizer.lr={rate}"]))'
        write(text, f"{folder}/one.py")
    with pytest.raises(UserError, match="both.py: two different jobs are called 'one/x', as jobs are by their grid's"):
        load_graph(write('include = ["a/one.py", "b/one.py"]', "both.py"), gpus=0)
    assert list(load_graph(write('include = ["a/one.py", "a/../a/one.py"]', "same.py"), gpus=0).nodes) == ["one/x"]


def test_long_arguments_that_differ_at_their_ends_are_two_jobs(write):
    rows = [f'["--protocol", "knn", "--labels", "10%", "--name", "quite_long", "neighbours={n}"]' for n in (5, 6)]
    text = f'pretrain = dict(x=dict(config="{DIGITS}"))\ntransfer = [' + ", ".join(
        f'dict(of="x", target="digits", widths=[1.0], arguments={row})' for row in rows
    )
    names = list(load_graph(write(text + "]"), gpus=0).nodes)[1:]
    assert len(names) == 2 and all(name.startswith("grid/x/digits-w1-s0-protocol_knn_") for name in names)


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["--seed", "3"], "as --seeds .*in a grid as seeds"), (["--widths=0.5"], "as --widths of"),
        (["--see=1"], "as seeds"),  (["--checkpoint", "x"], "as of"), (["--output=x"], "as --runs"),
        (["--init", "random"], "as inits"), (["--data=/d"], "as --data NAME=FOLDER .*the preset"),
    ],
)  # fmt: skip
def test_arguments_that_the_launch_says_itself_are_refused(write, words, place):
    text = f'pretrain = dict(x=dict(config="{DIGITS}"))\n'
    with pytest.raises(UserError, match=f"among the arguments for digits is said by the launch itself; .*{place}"):
        load_graph(write(f'{text}transfer = [dict(of="x", target="digits", arguments={words})]'), gpus=0)


def test_processes_are_as_many_as_the_chunks_can_be_dealt_to():
    four = tiny_config(training={"chunks": 4})
    assert [fitting(gpus, 1, four) for gpus in (8, 4, 3, 1, 0)] == [4, 4, 2, 1, 0]
    assert fitting(8, 2, four) == 2 and fitting(8, 1, tiny_config()) == 8


def test_processes_that_the_chunks_cannot_be_dealt_to_are_refused_before_they_wait_for_them(write):
    row = 'dict(config="configs/pretrain/table4.py:resnet50_us3l", nodes={}, gpus={})'
    assert load_graph(write(f"pretrain = dict(x={row.format(2, 4)})"), gpus=8).nodes["grid/x"].gpus == 4
    with pytest.raises(
        UserError, match="training.chunks is 8 for 32 processes; expected a number of them that divides"
    ):
        load_graph(write(f"pretrain = dict(x={row.format(4, 8)})"), gpus=8)


def test_without_chunks_the_number_of_processes_determines_the_result(write):
    def hashes(config: str, gpus: int):
        return load_graph(write(f'pretrain = dict(x=dict(config="{config}"))'), gpus).hashes["grid/x"]

    assert hashes(DIGITS, 1) != hashes(DIGITS, 2)
    assert hashes(CIFAR, 1) == hashes(CIFAR, 2), "chunks=4 whoever computes them"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('pretrian = dict(x=dict(config="y"))', "unknown key 'pretrian'; did you mean 'pretrain'?"),
        (GRID.replace("widths=[0.5]", "width=[0.5]"), "unknown key 'transfer.1.width'; did you mean 'widths'?"),
        (GRID.replace(f'config="{DIGITS}", over', f'confg="{DIGITS}", over'), "did you mean 'config'?"),
        (GRID.replace('of="us3l"', 'of="u3sl"'), "no pretraining is called 'u3sl'; did you mean 'us3l'?"),
        (
            GRID.replace("resnet18_digits", "resnet18_digit"),
            f"no such config: {DIGITS[:-4]}.py; did you mean '{DIGITS}'?",
        ),
        (GRID.replace('"mmdet"]', '"mmdett"]'), "transfer.1.frameworks.1: unknown 'mmdett'; did you mean 'mmdet'?"),
        (GRID.replace("widths=[1.0, 0.25]", "widths=[2.0]"), "transfer.0.widths.0 is 2.0; expected a number up to 1"),
        (GRID.replace("widths=[1.0, 0.25]", "widths=[1.0]"), "no width of (1.0,) is in the range 0.25 to 0.25 of"),
        (GRID.replace("seeds=[0, 1]", "seeds='many'"), "seeds"),
        (GRID.replace("seeds=[0, 1]", "seeds=[-1]"), "transfer.0.seeds.0 is -1; expected a number from 0"),
        (GRID.replace("seeds=[0, 1]", "seeds=[]"), "transfer.0.seeds is []; expected 1 or more"),
        (GRID.replace('target="digits"', 'target="digit"'), "unknown target 'digit'; did you mean 'digits'?"),
        (GRID.replace('"random"]', '"randm"]'), "transfer.1.inits.1: unknown 'randm'; did you mean 'random'?"),
        (GRID.replace('table="5"', 'table="55"'), "tables: unknown '55'; did you mean '5'?"),
        (GRID.replace('"latex"]', '"latx"]'), "tables: unknown 'latx'; did you mean 'latex'?"),
        (GRID.replace("seeds=[0, 1]", "arguments=['--epochs', 'x']"), "argument --epochs: invalid int value: 'x'"),
        (GRID.replace("seeds=[0, 1]", "arguments=['neighbour=5']"), "did you mean 'neighbours'?"),
        (GRID.replace("seeds=[0, 1]", "frameworks=['mmdet']"), "frameworks are for coco and voc, not for digits"),
        (GRID.replace("us3l=dict(", "us3l=dict(nodes=-1, "), "pretrain.us3l.nodes is -1; expected a number from 1"),
        (
            GRID.replace("us3l=dict(", "us3l=dict(teacher='narow', teacher_key='data.root', "),
            "did you mean 'grid/narrow'?",
        ),
        ('tables = [dict(table="5")]', "table 5 has no transfer to show"),
        ('transfer = [dict(target="coco")]', "the key 'transfer.0.of' is missing"),
        ('include = ["grid.py"]', "the grid has a cycle: grid.py includes grid.py"),
        ("pretrain = {", "is no valid grid"),
        ("pretrain = 1 / 0", "is no valid grid: division by zero"),
        ('_base_ = ["grid.py"]', "is no valid grid"),
    ],
)
def test_mistakes_are_one_line(write, text, message):
    with pytest.raises(UserError) as raised:
        load_graph(write(text), gpus=0)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_a_grid_of_other_bytes_than_utf_8_is_one_line(tmp_path):
    (tmp_path / "grid.py").write_bytes(b"pretrain = dict()  # \xff")
    with pytest.raises(UserError, match="grid.py is no valid grid: 'utf-8' codec can't decode"):
        load_graph(tmp_path / "grid.py", gpus=0)


def test_a_missing_grid_names_the_nearest():
    with pytest.raises(UserError, match="no such grid: .*digit.py; did you mean 'digits'?"):
        load_graph(ROOT / "configs/grids/digit.py", gpus=0)
