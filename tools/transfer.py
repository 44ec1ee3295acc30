#!/usr/bin/env python
"""Evaluate a universal checkpoint at one or more widths: recognition or detection, by the name of the target."""

import re
import sys
from pathlib import Path
from types import ModuleType

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.common.errors import UserError, nearest
from pretrain.run.allocator import restart_for_cpu

OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")


def commands() -> dict[str, ModuleType]:
    """By the name of a target, what evaluates it."""
    from transfer.detection import command as detection
    from transfer.recognition import command as recognition

    return {**dict.fromkeys(recognition.TARGETS, recognition), **dict.fromkeys(detection.TARGETS, detection)}


def overview() -> str:
    known = commands()
    lines = [f"  {name:10}{command.TARGETS[name]}" for name, command in known.items()]
    examples = [f"  tools/transfer.py {name} {command.EXAMPLE}" for name, command in known.items()]
    usage = "usage: transfer.py TARGET [options], listed by transfer.py TARGET --help"
    return "\n".join((usage, "", "targets:", *lines, "", "examples:", *examples))


def main(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return
    target, *rest = argv
    known = commands()
    if target not in known:
        raise UserError(f"unknown target '{target}'; expected it first{nearest(target, known)}")
    command = known[target]
    parser = cli.Parser(f"{target}: {command.TARGETS[target]}", f"tools/transfer.py {target} {command.EXAMPLE}")
    command.add_arguments(parser)
    # An option of several values (--width 0.5 0.25) would swallow a key=value behind it.
    overrides = [a for a in rest if OVERRIDE.match(a)]
    arguments = parser.parse_args([*overrides, *(a for a in rest if not OVERRIDE.match(a))])
    arguments.target = target
    command.main(arguments)


if __name__ == "__main__":
    restart_for_cpu()
    cli.run(main)
