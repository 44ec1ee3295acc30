"""The command line of ``tools/transfer.py``: targets, and the options of what evaluates each."""

import argparse
import re

from pretrain.common import cli
from pretrain.common.errors import UserError, nearest
from transfer.targets import TARGETS

OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")


def overview() -> str:
    """What ``tools/transfer.py --help`` prints."""
    lines = [f"  {name:10}{target.text}" for name, target in TARGETS.items()]
    examples = [f"  tools/transfer.py {name} {target.command.example(name)}" for name, target in TARGETS.items()]
    usage = "usage: transfer.py TARGET [options], listed by transfer.py TARGET --help"
    return "\n".join((usage, "", "targets:", *lines, "", "examples:", *examples))


def parse(target: str, words: list[str]) -> argparse.Namespace:
    """The options of ``target``, checked as far as they can be without weights and images.

    Errors: UserError for an unknown target, option or setting.
    """
    if target not in TARGETS:
        raise UserError(f"unknown target '{target}'; expected it first{nearest(target, TARGETS)}")
    command = TARGETS[target].command
    parser = cli.Parser(f"{target}: {TARGETS[target].text}", f"tools/transfer.py {target} {command.example(target)}")
    parser.prog = f"transfer.py {target}"
    command.add_arguments(parser)
    arguments = parser.parse_args(overrides_first(words))
    arguments.target = target
    arguments.settings = command.settings(arguments)
    return arguments


def overrides_first(words: list[str]) -> list[str]:
    """Every key=value before the options: one of several values (--width 0.5 0.25) would swallow it."""
    return sorted(words, key=lambda word: OVERRIDE.match(word) is None)


def main(argv: list[str]) -> None:
    """Evaluate as ``argv`` says. Errors: UserError."""
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return
    arguments = parse(argv[0], argv[1:])
    TARGETS[arguments.target].command.main(arguments)
