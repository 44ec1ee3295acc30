"""The kinds of teachers, and which one a name stands for."""

from pretrain.common.errors import UserError
from pretrain.common.named import is_own
from pretrain.data.facts import ImageFacts
from pretrain.teachers.own import own_teacher
from pretrain.teachers.settings import NAMES, TeacherSettings
from pretrain.teachers.teacher import Teacher
from pretrain.teachers.timm import timm_teacher
from pretrain.teachers.torchvision import torchvision_teacher
from pretrain.teachers.universal import universal_teacher

# what stands before the colon -> what loads a model
KINDS = {"timm": timm_teacher, "torchvision": torchvision_teacher, "universal": universal_teacher}


def load_teacher(settings: TeacherSettings, images: ImageFacts) -> Teacher:
    """The teacher that ``settings`` name, for students of ``images``, on the CPU.

    Errors: UserError, before anything is trained: see the kinds, and ``Teacher``.
    """
    settings.check()
    kind, _, model = settings.name.partition(":")
    if kind in KINDS and (model or kind == "universal"):
        loaded = KINDS[kind](model, settings, images)
    elif is_own(settings.name):
        loaded = own_teacher(settings.name, settings, images)
    else:
        raise UserError(f"unknown teacher '{settings.name}'; expected {NAMES}")
    return Teacher(loaded, settings, images)
