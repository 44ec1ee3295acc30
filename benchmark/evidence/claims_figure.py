"""The claims as pictures that a phone shows: accuracy against a network's cost, and against that of its training."""

import statistics
from pathlib import Path

from benchmark.evidence.claims import accuracy, cost
from pretrain.backbones import create_backbone
from pretrain.slimmable.widths import FOUR_WIDTHS
from pretrain.universal import backbone_cost
from transfer.plots import COLOURS, fitting_legend, styled

PICTURED = {  # system -> how the picture names it
    "us3l": "US3L", "us_simclr": "US+SimCLR", "us_simsiam": "US+SimSiam", "case01": "SimSiam at each width (case 1)",
    "simclr_025": "SimCLR at 0.25 alone",
}  # fmt: skip


TRAINED = PICTURED | {
    "us3l_dynamic_only": "US3L, no group regularisation", "us3l_group_only": "US3L, no dynamic sampling",
    "us3l_per_width": "US3L, a step after each width", "case10": "case 10", "case12": "case 12", "case13": "case 13",
}  # fmt: skip


def draw(records: list[dict], path: Path) -> None:
    """Write an SVG of the systems of claims (a) to (c): mean over seeds, bars of one standard error.

    Nothing is written where none of them was run. The same records give the same bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [name for name in PICTURED if any(r["system"] == name and r.get("linear") for r in records)]
    if not shown:
        return
    macs = millions_of_macs()
    with styled("claims", **{"font.size": 13}):
        figure = Figure(figsize=(5.2, 5.6), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        for colour, system in zip(COLOURS, shown):
            found = {w: list(values) for w in FOUR_WIDTHS if (values := accuracy(records, system, w).values())}
            errors = [statistics.stdev(v) / len(v) ** 0.5 if len(v) > 1 else 0.0 for v in found.values()]
            axis.errorbar(
                [macs[w] for w in found], [statistics.fmean(v) for v in found.values()], errors,
                color=colour, marker="o", markersize=6, linewidth=2, capsize=4, label=PICTURED[system],
            )  # fmt: skip
        axis.set_xscale("log")
        axis.set_xticks([macs[w] for w in FOUR_WIDTHS], [f"{macs[w]:.2g} M\nat {w:g}" for w in FOUR_WIDTHS])
        axis.minorticks_off()
        axis.set_xlabel("multiply-accumulates an image, at width")
        axis.set_ylabel("linear top-1 on CIFAR-10, percent")
        axis.grid(axis="y", alpha=0.3)
        seeds = {len(accuracy(records, name, 0.25)) for name in shown}
        iterations, batch = records[0]["iterations"], records[0]["batch_size"]
        least, most = min(seeds), max(seeds)
        axis.set_title(
            f"{iterations:,} iterations of {batch} images, {least if least == most else f'{least} to {most}'} seed(s)",
            fontsize=12,
        )
        fitting_legend(figure, 1)
        figure.savefig(path, metadata={"Date": None})


def draw_costs(records: list[dict], path: Path) -> None:
    """Write an SVG of all systems: accuracy at the smallest width and at the largest against the training's cost.

    Nothing is written where no record says a cost.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    costs = {name: cost([r for r in records if r["system"] == name and r.get("linear")]) for name in TRAINED}
    shown = {name: spent for name, spent in costs.items() if spent}
    if not shown:
        return
    with styled("claims_cost", **{"font.size": 13}):
        figure = Figure(figsize=(5.2, 6.4), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        for i, (system, spent) in enumerate(shown.items()):
            means = [statistics.fmean(v) for w in (0.25, 1.0) if (v := accuracy(records, system, w).values())]
            style = {"color": COLOURS[i % len(COLOURS)], "marker": "osD^"[i // len(COLOURS)]}
            axis.plot([spent] * len(means), means, markersize=7, label=TRAINED[system], **style)
        axis.set_xlim(left=0)
        axis.set_xlabel("cost of the training, TFLOPs")
        axis.set_ylabel("linear top-1 on CIFAR-10, percent")
        axis.set_title("each line: from width 0.25 to width 1", fontsize=12)
        axis.grid(alpha=0.3)
        fitting_legend(figure, 1)
        figure.savefig(path, metadata={"Date": None})


def millions_of_macs() -> dict[float, float]:
    """Multiply-accumulates of the claims' network at 32 px by width, in millions."""
    backbone = create_backbone("resnet18", "cifar_half", base_channels=16)
    return {width: backbone_cost(backbone, width, 32).macs / 1e6 for width in FOUR_WIDTHS}
