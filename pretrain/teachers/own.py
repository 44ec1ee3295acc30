"""A teacher of somebody's own: ``module:function``, whose function gives a torch module."""

from torch import nn

from pretrain.common.errors import UserError
from pretrain.common.named import named
from pretrain.data.facts import ImageFacts
from pretrain.teachers.file import load_file
from pretrain.teachers.settings import TeacherSettings
from pretrain.teachers.teacher import Loaded


def own_teacher(name: str, settings: TeacherSettings, images: ImageFacts) -> Loaded:
    """The module that the function gives, normalised images [B, C, H, W] -> features [B, D], maps [B, D, h, w]
    or tokens [B, N, D].

    Errors: UserError for code that is not found or fails, and for a result that is no module.
    """
    function = named(name, {}, "objective.teacher.name", typed=True)
    try:
        network = function()
    except UserError:
        raise
    except Exception as error:  # whatever somebody's function may raise
        raise UserError(f"objective.teacher.name '{name}' failed: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise UserError(f"objective.teacher.name '{name}' gives a {type(network).__name__}; expected a torch module")
    source = name if settings.weights is None else load_file(network, settings)
    return Loaded(network, name, source)
