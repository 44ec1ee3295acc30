"""The graph of ``tools/launch.py transfer``: evaluations of one checkpoint that is there."""

import argparse
from dataclasses import replace
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.config import validate
from slurm.grid.definition import Chosen, transfer_node
from slurm.grid.graph import Graph, Node
from slurm.grid.gridfile import TransferRow
from slurm.presets import Preset
from transfer.targets import FRAMEWORKS, targets_of


def transfer_graph(arguments: argparse.Namespace, preset: Preset) -> tuple[Graph, Path]:
    """The jobs of ``launch.py transfer`` and the checkpoint that they evaluate."""
    from transfer.source import find_checkpoint, load_source

    detection = arguments.target in targets_of("detection")
    if arguments.framework and not detection:
        known = ", ".join(targets_of("detection"))
        raise UserError(f"--framework is for detection ({known}), not for {arguments.target}")
    checkpoint = find_checkpoint(arguments.checkpoint).absolute()
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds}; expected a number from 1")
    source = load_source(checkpoint)
    source.check_widths(arguments.widths)  # said before a job waits a day for it
    metadata = source.net.metadata
    row = TransferRow(of="", target=arguments.target, arguments=tuple(arguments.args))
    framework = (arguments.framework or next(iter(FRAMEWORKS))) if detection else ""
    config = validate({
        "backbone": {**metadata["backbone"]}, "width_range": tuple(metadata["width_range"]),
        "data": {"name": metadata["data"]["name"], "mean": metadata["mean"], "std": metadata["std"],
                 "image_size": metadata["data"]["image_size"]},
        "calibration": {"widths": tuple(metadata["width_range"])},
    })  # fmt: skip
    nodes: list[Node] = []
    for init in arguments.init:
        for width in arguments.widths:
            for seed in range(arguments.seeds):
                what = Chosen(row, framework, init, width, seed)
                node = transfer_node(
                    checkpoint.parent.name, None, config, what, preset.gpus_per_node, checkpoint, preset.data
                )
                nodes.append(replace(node, settings={**node.settings, "checkpoint": source.net.hash}))
    return Graph(nodes), checkpoint
