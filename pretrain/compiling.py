"""``training.compile``: the backbone as compiled graphs, one for each sub-network, so their number must be small."""

import inspect

import torch

from pretrain.errors import UserError
from pretrain.objectives.step import Objective
from pretrain.slimmable.backbone import SlimBackbone

MOST_GRAPHS = 32  # sub-networks; each takes from seconds to minutes to compile


def compile_backbones(model: Objective, sub_networks: int, backend: str = "inductor") -> None:
    """Compile every slimmable backbone in ``model`` (its own and a momentum encoder's), in place.

    A graph holds for one width and one image shape. What one backbone compiles does not count against another.
    Errors: UserError where a run would draw more than ``MOST_GRAPHS`` sub-networks, or torch cannot bound the graphs.
    """
    if sub_networks > MOST_GRAPHS:
        raise UserError(
            f"training.compile would make a graph for each of {sub_networks} sub-networks; "
            f"expected at most {MOST_GRAPHS}, e.g. by sampling.grid = 0.125"
        )
    if "isolate_recompiles" not in inspect.signature(torch.compile).parameters:
        raise UserError(f"training.compile needs a newer torch than {torch.__version__}; expected 2.14 or later")
    for module in model.modules():
        if isinstance(module, SlimBackbone):
            # training and the eyes of the monitor see other batches: twice the graphs, never silently eager
            graphs = 2 * sub_networks + 2
            module.compile(backend=backend, dynamic=False, recompile_limit=graphs, isolate_recompiles=True)
