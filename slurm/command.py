"""The command line of ``tools/launch.py``: its options, and one call for each subcommand."""

import argparse
import os
import re
import shlex
import sys
from pathlib import Path

from pretrain.common import cli
from pretrain.common.errors import UserError, nearest
from pretrain.common.repository import ROOT
from pretrain.configfile import Address
from pretrain.slimmable.widths import FOUR_WIDTHS
from slurm import manage
from slurm.launch import Launch, launch
from slurm.presets import list_presets, load_preset, minutes
from transfer.targets import FRAMEWORKS

# as config keys are: below a section, or one of the two that have none; a name without a dot is --data's or --env's
OVERRIDE = re.compile(r"(?:[A-Za-z_]\w*\.[\w.]+|method|width_range)=")
PRETRAIN = "configs/pretrain/us3l_resnet18_digits.py"
SUBCOMMANDS = {
    "pretrain": ("one pretraining on N nodes", "pretrain configs/pretrain/us3l_resnet50_imagenet.py --nodes 2"),
    "transfer": ("one job for each width and seed", "transfer coco --widths 1.0 0.5 --checkpoint runs/x"),
    "grid": ("a whole table: pretrainings, transfers and the table", "grid configs/grids/table5.py --dry-run"),
    "status": ("what has become of a grid's jobs", "status runs/grids/table5 --watch"),
    "logs": ("what a job printed", "logs runs/grids/table5 table5/us3l --follow"),
    "cancel": ("end a grid's jobs", "cancel runs/grids/table5"),
    "retry": ("submit what failed again, and what needs it", "retry runs/grids/table5"),
}
METAVARS = {str: "NAME", int: "N", float: "N", minutes: "TIME"}
FLAGS = {  # of the cluster: the keys of a preset
    "partition": (str, "as sinfo lists them"), "account": (str, "what is billed"), "qos": (str, "quality of service"),
    "constraint": (str, "features that nodes must have"), "memory": (float, "GB of a node"),
    "time": (minutes, "limit of one turn: minutes, H:M:S or D-H; a longer job is requeued and continues"),
    "cpus-per-task": (int, "cores of each process"), "gpus-per-node": (int, "GPUs of a node, a task each; 0: on CPUs"),
    "gres": (str, "ask for GPUs by --gres=NAME:N, where --gpus-per-node is unknown, e.g. gpu or gpu:a100"),
    "array-parallelism": (int, "jobs of an array that run at once"), "exclude": (str, "nodes to avoid"),
    "comment": (str, "of the jobs"), "dependency": (str, "added to the jobs' own, e.g. afterok:123"),
    "signal-delay": (int, "seconds before its limit at which a job is told"),
    "max-retries": (int, "new starts after kill -9 or a lost node"), "tflops": (float, "of a GPU, for estimates"),
}  # fmt: skip


def overview() -> str:
    lines = [f"  {name:10}{text}" for name, (text, _) in SUBCOMMANDS.items()]
    examples = [f"  tools/launch.py {example}" for _, example in SUBCOMMANDS.values()]
    usage = "usage: launch.py SUBCOMMAND [options], listed by launch.py SUBCOMMAND --help"
    return "\n".join((usage, "", "subcommands:", *lines, "", "examples:", *examples))


def main(argv: list[str]) -> None:
    """Read the subcommand and its options and do it. Errors: UserError."""
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return
    name, *rest = argv
    if name not in SUBCOMMANDS:
        raise UserError(f"unknown subcommand '{name}'; expected it first{nearest(name, SUBCOMMANDS)}")
    text, example = SUBCOMMANDS[name]
    parser = cli.Parser(text, f"tools/launch.py {example}")
    parser.prog = f"launch.py {name}"
    ADD[name](parser)
    # An option of several values (--data a=/x) would swallow a key=value behind it.
    overrides = [part for part in rest if OVERRIDE.match(part)] if name == "pretrain" else []
    arguments = parser.parse_args([part for part in rest if part not in overrides])
    arguments.overrides = overrides
    RUN[name](arguments)


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Options of everything that submits."""
    group = parser.add_argument_group("cluster")
    names = ", ".join(list_presets())
    group.add_argument("--cluster", default="slurm", metavar="C", help=f"preset: {names} or a .yaml (default: slurm)")
    for flag, (kind, text) in FLAGS.items():
        group.add_argument(f"--{flag}", type=kind, metavar=METAVARS[kind], help=text)
    group.add_argument("--setup", nargs="+", metavar="LINE", help="lines of the job's shell script")
    group.add_argument("--env", nargs="+", default=[], metavar="NAME=VALUE", help="environment of the jobs")
    group.add_argument("--shared", nargs="+", metavar="D", help="folders that all nodes see, whatever they lie on")
    group.add_argument("--data", nargs="+", default=[], metavar="NAME=D", help="where data sets lie, e.g. coco=/d/coco")
    group.add_argument("--dry-run", action="store_true", help="print the plan and the sbatch scripts; submit nothing")


def preset_of(arguments: argparse.Namespace):
    flags = {flag.replace("-", "_"): getattr(arguments, flag.replace("-", "_")) for flag in FLAGS}
    for key, values in (("data", pairs(arguments.data, "--data")), ("environment", pairs(arguments.env, "--env"))):
        if values:
            flags[key] = values
    for key in ("setup", "shared"):
        if getattr(arguments, key):
            flags[key] = tuple(getattr(arguments, key))
    return load_preset(arguments.cluster, flags)


def pairs(values: list[str], flag: str) -> dict[str, str]:
    """``NAME=VALUE`` words as a dictionary."""
    for value in values:
        if "=" not in value:
            raise UserError(f"{flag} {value}: expected NAME=VALUE")
    return dict(value.split("=", 1) for value in values)


def add_pretrain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config",
        nargs="?",
        type=Address.parse,
        default=Address.parse(PRETRAIN),
        metavar="CONFIG[:ROW]",
        help=f"default: {PRETRAIN}",
    )
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--tasks-per-node", type=int, default=1, metavar="T", help="processes of a node without GPUs")
    parser.add_argument(
        "--work-dir", type=Path, metavar="D", help="folder of the run (default: runs/<name of the config>)"
    )
    add_cluster(parser)
    parser.epilog = f"{parser.epilog}\n\nkey=value changes a setting of the config, e.g. training.epochs=100"


def run_pretrain(arguments: argparse.Namespace) -> None:
    from slurm.grid import definition, gridfile

    preset = preset_of(arguments)
    if arguments.nodes < 1 or arguments.tasks_per_node < 1:
        raise UserError(
            f"--nodes {arguments.nodes} --tasks-per-node {arguments.tasks_per_node}; expected numbers from 1"
        )
    config = arguments.config
    path = config.path if config.path.exists() else ROOT / config.path
    config = config._replace(path=path.absolute())
    row = gridfile.PretrainingRow(
        config=str(config), overrides=tuple(arguments.overrides), nodes=arguments.nodes, tasks=arguments.tasks_per_node,
        gpus=arguments.gpus_per_node,
    )  # fmt: skip
    name = str(config.run)
    node, _ = definition.pretrain_node(name, config, row, preset.gpus_per_node, data=preset.data)
    folder = (arguments.work_dir or Path("runs") / name).absolute()
    launch(Launch(definition.Graph([node]), folder, folder, preset, relaunch(), {name: folder}), arguments.dry_run)


def add_transfer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="as tools/transfer.py has them: coco, voc, cifar10, folder, …")
    cli.widths_argument(parser, list(FOUR_WIDTHS))
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="of each width: 0 to N-1")
    parser.add_argument("--checkpoint", type=Path, metavar="U", help="universal checkpoint (default: the newest)")
    parser.add_argument("--init", choices=("pretrained", "random"), nargs="+", default=["pretrained"], help="or both")
    parser.add_argument("--framework", choices=tuple(FRAMEWORKS), help="of detection (default: detectron2)")
    parser.add_argument("--output", type=Path, metavar="D", help="folder (default: beside the checkpoint)")
    parser.add_argument(
        "--args",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="…",
        help="all behind it goes to tools/transfer.py",
    )
    add_cluster(parser)


def run_transfer(arguments: argparse.Namespace) -> None:
    from slurm.grid import transfers
    from transfer.command import parse

    parse(arguments.target, arguments.args)
    preset = preset_of(arguments)
    graph, checkpoint = transfers.transfer_graph(arguments, preset)
    folder = (arguments.output or checkpoint.parent / "transfer" / arguments.target).absolute()
    launch(Launch(graph, folder, folder, preset, relaunch(), {}), arguments.dry_run)


def add_grid(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("grid", type=Path, metavar="GRID", help="see configs/grids/")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="D", help="for grids/ and nodes/ (runs)")
    add_cluster(parser)


def run_grid(arguments: argparse.Namespace) -> None:
    from slurm.grid import definition

    preset = preset_of(arguments)
    graph = definition.load_graph(arguments.grid, preset.gpus_per_node, preset.data)
    runs = arguments.runs.absolute()
    launch(
        Launch(graph, runs / "grids" / arguments.grid.stem, runs / "nodes", preset, relaunch(), {}), arguments.dry_run
    )


def add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="of a grid, a transfer or a pretraining")
    parser.add_argument("names", nargs="*", metavar="JOB", help="names of jobs, or the ends of them, or patterns")


def add_status(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--watch", action="store_true", help="refresh until every job has ended")
    parser.add_argument("--interval", type=float, default=10.0, metavar="S", help="of --watch, seconds (default: 10)")
    parser.add_argument("--dry-run", action="store_true", help="status changes nothing anyway")


def add_logs(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--lines", type=int, default=30, metavar="N", help="of each file, from its end (default: 30)")
    parser.add_argument("--follow", action="store_true", help="go on printing what the job's first task writes")
    parser.add_argument("--dry-run", action="store_true", help="print the paths only")


def add_change(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, and leave it at that")


def add_retry(parser: argparse.ArgumentParser) -> None:
    add_change(parser)
    parser.add_argument("--trust", action="store_true", help="run what is not of this repository, too: configs, setup")


def relaunch() -> str:
    """The command that was typed."""
    words = [sys.executable, str(ROOT / "tools/launch.py"), *sys.argv[1:]]
    return f"cd {shlex.quote(os.getcwd())} && {shlex.join(words)}"


ADD = {
    "pretrain": add_pretrain, "transfer": add_transfer, "grid": add_grid, "status": add_status, "logs": add_logs,
    "cancel": add_change, "retry": add_retry,
}  # fmt: skip
RUN = {
    "pretrain": run_pretrain, "transfer": run_transfer, "grid": run_grid, "status": manage.status, "logs": manage.logs,
    "cancel": manage.cancel, "retry": manage.retry,
}  # fmt: skip
