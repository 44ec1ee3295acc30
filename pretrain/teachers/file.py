"""The weights of a teacher out of a file, all of them: half a teacher teaches nonsense."""

from pathlib import Path

from torch import nn

from pretrain.common.errors import UserError
from pretrain.teachers.settings import TeacherSettings
from pretrain.weights.fit import fit
from pretrain.weights.read import read_tensors

COUNTER = "num_batches_tracked"  # of batch norms, which old files lack and eval mode does not read


def load_file(network: nn.Module, settings: TeacherSettings, classifier: tuple[str, ...] = ()) -> str:
    """Fill ``network`` from ``settings.weights``, and return where the weights are from, in words.

    classifier: the modules, by the first part of their names, that files have and the network is without.
    Errors: UserError for a file that cannot be read safely, that lacks a tensor or has others, by their names.
    """
    file = Path(settings.weights)
    tensors, _ = read_tensors(file)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = fit(
        tensors, shapes, file, settings.prefix, option="objective.teacher.prefix", aside=(COUNTER,)
    )  # fmt: skip
    missing = [name for name in found.missing if not name.endswith(COUNTER)]
    others = [name for name in found.unexpected if name.split(".")[0] not in classifier]
    if missing or others or found.shapes:
        raise UserError(f"{file} does not fit {settings.name}: it has {found}; expected all of its tensors")
    network.load_state_dict(found.state, strict=False)
    return file.name
