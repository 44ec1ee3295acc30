#!/usr/bin/env python
"""Did it help? Random weights, given ones and a checkpoint's on your own images, judged by paired seeds.

DATA is a folder of images (train/<class>/ and test/ or val/) or a recognition target such as cifar10. Every system is
evaluated at every width, share of the labels and seed; what was evaluated already is not done again. The answer is one
table and one picture, verdict.md and verdict.svg.
"""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.common.errors import UserError
from pretrain.run.allocator import restart_for_cpu
from transfer.command import overrides_first
from transfer.targets import METRICS, PROTOCOLS, headline, targets_of


def main(argv: list[str]) -> None:
    args = parsed(argv)
    from benchmark.evidence import overlap, verdict, verdict_page
    from transfer.source import find_checkpoint

    checkpoint = find_checkpoint(args.checkpoint)
    question = question_of(args, checkpoint)
    verdict.check(question)
    seeds = ", ".join(map(str, question.seeds))
    print(f"{', '.join(question.systems)} ({checkpoint}) by {args.protocol} on {args.data}, seeds {seeds}", flush=True)
    scores, net, splits = verdict.answer(question, args.device)
    notes = overlap.warnings(net, checkpoint.parent, *(images.dataset for images in splits))
    metric = METRICS[headline(question.target, verdict.task(question.settings))[0]]
    page, picture = verdict_page.write(question, verdict.rows(question, scores), scores, metric, notes)
    print(page.read_text())
    print(page, picture, sep="\n")


def parsed(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser(__doc__, "tools/verdict.py datasets/birds --checkpoint runs/birds --labels 10% 100%")
    parser.add_argument("data", metavar="DATA", help="a folder of images, or a recognition target")
    parser.add_argument(
        "--root", type=Path, help="where a target's data are (default: DETECTRON2_DATASETS, or datasets/)"
    )
    parser.add_argument("--checkpoint", type=Path, help="universal checkpoint (default: the newest below runs/)")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="given weights to compare with, .pth or .safetensors"
    )
    parser.add_argument(
        "--weights-prefix", metavar="P", help="what stands before their names, where the file has several"
    )
    parser.add_argument(
        "--sort", default="l1", choices=("none", "bn", "l1", "activation"), help="order of their channels"
    )
    cli.widths_argument(parser, [1.0, 0.25])
    parser.add_argument("--labels", nargs="+", default=["100%"], metavar="SHARE", help="e.g. 1%% 10%% 100%%")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="S", help="default: 0 1 2")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="finetune", help="default: finetune")
    parser.add_argument("--output", type=Path, help="default: verdict/ beside the checkpoint")
    parser.add_argument("--device", help="cuda or cpu (default: cuda where there is one)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the evaluation, e.g. epochs=10")
    return parser.parse_intermixed_args([*argv[:1], *overrides_first(argv[1:])])


def question_of(args: argparse.Namespace, checkpoint: Path):
    """What is asked. Errors: UserError for a share, a setting or data that are none."""
    from benchmark.evidence.verdict import Question
    from transfer.recognition.labels import share
    from transfer.recognition.settings import RecognitionSettings, override
    from transfer.recognition.targets import find_root

    known = targets_of("recognition")
    if args.data not in known and not Path(args.data).is_dir():
        raise UserError(
            f"no such folder or target: {args.data}; expected a folder of images, or one of {', '.join(known)}"
        )
    target = args.data if args.data in known else "folder"
    root = Path(args.data) if target == "folder" else find_root(target, args.root)
    settings = override(RecognitionSettings(args.protocol), args.overrides)
    return Question(
        checkpoint, target, root, list(dict.fromkeys(args.widths)), list(dict.fromkeys(map(share, args.labels))),
        list(dict.fromkeys(args.seeds)), settings, args.output or checkpoint.parent / "verdict", args.weights,
        args.weights_prefix, args.sort,
    )  # fmt: skip


if __name__ == "__main__":
    restart_for_cpu()
    cli.run(main)
