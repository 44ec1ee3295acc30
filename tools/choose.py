#!/usr/bin/env python
"""The best width of a universal checkpoint under a budget of latency, MACs, parameters or megabytes."""

import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain.common import cli
from pretrain.common.errors import UserError
from transfer.runtimes import RUNTIMES


def main(argv: list[str]) -> None:
    parser = cli.Parser(
        "Find the most accurate width whose cost keeps within all budgets that are given.",
        "tools/choose.py runs/demo/pretrain --latency 10 --runtime openvino --int8",
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="UNIVERSAL", help="a universal.safetensors file, or the run folder with one"
    )
    parser.add_argument("--latency", type=float, metavar="MS", help="milliseconds of one image, at most")
    parser.add_argument("--macs", type=float, metavar="M", help="millions of multiply-accumulates, at most")
    parser.add_argument("--params", type=float, metavar="M", help="millions of parameters, at most")
    parser.add_argument("--megabytes", type=float, metavar="MB", help="of weights, at most")
    parser.add_argument("--runtime", default="torch", metavar="NAME", help=f"of {', '.join(RUNTIMES)} (default: torch)")
    parser.add_argument("--int8", action="store_true", help="of the runtime's eight-bit files")
    parser.add_argument("--image-size", type=int, default=224, metavar="S", help="side in pixels (default: 224)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the runtime (default: 1)")
    parser.add_argument("--repeats", type=int, default=30, metavar="N", help="passes that count (default: 30)")
    parser.add_argument("--data", type=Path, metavar="D", help="validation images (default: the pretraining's)")
    parser.add_argument(
        "--accuracy", choices=("knn", "fast"), default="knn",
        help="what judges on them: nearest neighbours, or the fast protocol's linear probe (default: knn)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, and nothing else")
    parser.add_argument(
        "--models", type=Path, metavar="D", help="for a device elsewhere: write what is to be timed there, and stop"
    )
    parser.add_argument("--times", type=Path, metavar="CSV", help="what the script of --models found there")
    parser.add_argument(
        "--per-stage", action="store_true", help="search plans of channels by stage too, beside the widths"
    )
    parser.add_argument("--evaluations", type=int, default=60, metavar="N", help="plans to judge (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the search (default: 0)")
    parser.add_argument(
        "--output", type=Path, metavar="D", help="of the search, which goes on there (default: per_stage/ in the run)"
    )
    args = parser.parse_args(argv)
    if args.per_stage and (args.models or args.times):
        raise UserError("--per-stage times its plans here; expected it without --models and --times")
    if args.per_stage and args.accuracy != "knn":
        raise UserError("--per-stage judges plans by kNN; expected it without --accuracy fast")
    cli.check_least(args, image_size=8, threads=1, repeats=1, evaluations=1, seed=0)
    answer(args)


def answer(args) -> None:
    import json

    from transfer.convert import require
    from transfer.devices.budget import UNITS, Budget
    from transfer.devices.choose import candidates, choose, probes
    from transfer.devices.elsewhere import network_of, read_times, write_models
    from transfer.devices.latency import measure, unjudged
    from transfer.devices.variants import INT8, chosen
    from transfer.source import find_checkpoint, load_source
    from transfer.validation import validation_images

    [runtime] = chosen([args.runtime])
    require(RUNTIMES[runtime], args.int8)
    variant = f"{runtime}{INT8}" if args.int8 else runtime
    budget = None if args.models else Budget(args.latency, args.macs, args.params, args.megabytes)
    source = load_source(find_checkpoint(args.checkpoint))
    say = partial(print, file=sys.stderr, flush=True)
    if args.models:
        noise = unjudged(source.net.backbone.input_channels, args.image_size) if args.int8 else None
        for path in write_models(source, variant, args.image_size, args.models, noise):
            print(path)
        return
    backbone = source.net.backbone

    def here(widths) -> dict[float, float]:
        plain = {width: backbone.plain(backbone.channels(width)).eval() for width in widths}
        found = measure(
            plain, source.metadata, [variant], image_size=args.image_size, repeats=args.repeats, threads=args.threads,
            memory=False,
        )  # fmt: skip
        if found[0].refusals:
            raise UserError(found[0].refusals[variant])
        return {row.width: row.timings[variant][1].median for row in found}

    times = here
    if args.times:
        fitted, held = probes(candidates(source))
        told = read_times(args.times, [*fitted, *held], variant, args.image_size, network_of(source))
        times = lambda widths: {width: told[width] for width in widths}  # noqa: E731
    if args.per_stage:
        search_plans(args, source, budget, variant, here, say)
        return
    judge = {"knn": "knn", "fast": "linear"}[args.accuracy]
    seen = replace(validation_images(source, args.image_size, args.data), judge=judge)
    found = choose(source, budget, seen, args.image_size, times, args.int8, again=not args.times, say=say)
    if args.json:
        answered = {**found.record(), "runtime": variant, "image_size": args.image_size, "accuracy": judge}
        answered["judged"] = "float32"  # eight bits are judged where they are written
        print(json.dumps(answered, sort_keys=True))
        return
    said = ", ".join(f"{value:.4g} {UNITS[name]}" for name, value in found.cost.items())
    float32 = " in float32" if args.int8 else ""
    accuracy = "" if found.top1[found.width] is None else f", {judge} {found.top1[found.width]:.2f} %{float32}"
    print(f"width {found.width:g} ({variant}, {args.image_size} px): {said}{accuracy}")
    print(conversion(args, runtime, found.width))


def conversion(args, runtime: str, width: float) -> str:
    """The command that writes the network which was judged."""
    from transfer.convert import FORMATS

    form = RUNTIMES[runtime]
    words = ["tools/convert.py", args.checkpoint, "--width", f"{width:g}", "--to", form]
    if FORMATS[form].sized:
        words += ["--image-size", args.image_size]
    if args.int8:
        words += ["--int8", *(["--data", args.data] if args.data else [])]
    return shlex.join(map(str, words))


def search_plans(args, source, budget, variant: str, times, say) -> None:
    import json

    from pretrain.slimmable.plans import bounds
    from transfer.devices import per_stage
    from transfer.devices.budget import UNITS
    from transfer.devices.variants import INT8
    from transfer.validation import validation_images

    bounds(source.net.backbone, *source.net.width_range)
    folder = args.output or source.path.parent / "per_stage"
    seen = validation_images(source, args.image_size, args.data, per_stage.BANK, per_stage.QUERIES)
    found = per_stage.search(
        source, budget, seen, args.image_size, folder, args.evaluations, args.seed, times, args.int8, say
    )
    path = per_stage.write(found, folder)
    if args.json:
        print(json.dumps({**per_stage.record(found), "runtime": variant, "image_size": args.image_size}))
        return
    print(per_stage.table(found))
    if found.gain:
        more, error = found.gain
        pair = f"plan {found.plan.found} less width {found.uniform.found:g}"
        print(f"{pair}: {more:+.2f} ± {error:.2f} points on test images")
    said = ", ".join(f"{value:.4g} {UNITS[name]}" for name, value in found.answer.cost.items())
    print(f"{found.answer.found:g} ({variant}, {args.image_size} px): {said}, kNN {found.answer.validation:.2f} %")
    print(conversion(args, variant.removesuffix(INT8), found.answer.found))
    print(path)


if __name__ == "__main__":
    cli.run(main)
