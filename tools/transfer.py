#!/usr/bin/env python
"""Evaluate a universal checkpoint at one or more widths: recognition or detection, by the name of the target."""

import re
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain import cli
from pretrain.errors import UserError, nearest
from transfer.detection import command as detection
from transfer.recognition import command as recognition

COMMANDS = {**dict.fromkeys(recognition.TARGETS, recognition), **dict.fromkeys(detection.TARGETS, detection)}
OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")


def overview() -> str:
    targets = {**recognition.TARGETS, **detection.TARGETS}
    lines = [f"  {name:10}{text}" for name, text in targets.items()]
    examples = [f"  tools/transfer.py {name} {COMMANDS[name].EXAMPLE}" for name in targets]
    usage = "usage: transfer.py TARGET [options], listed by transfer.py TARGET --help"
    return "\n".join((usage, "", "targets:", *lines, "", "examples:", *examples))


def main(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return
    target, *rest = argv
    if target not in COMMANDS:
        raise UserError(f"unknown target '{target}'; expected it first{nearest(target, COMMANDS)}")
    command = COMMANDS[target]
    parser = cli.Parser(f"{target}: {command.TARGETS[target]}", f"tools/transfer.py {target} {command.EXAMPLE}")
    command.add_arguments(parser)
    # An option of several values (--width 0.5 0.25) would swallow a key=value behind it.
    overrides = [a for a in rest if OVERRIDE.match(a)]
    arguments = parser.parse_args([*overrides, *(a for a in rest if not OVERRIDE.match(a))])
    arguments.target = target
    command.main(arguments)


if __name__ == "__main__":
    cli.run(main)
