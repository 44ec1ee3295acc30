"""The methods. A new one is one file here, its name in the import below, and a config.

``objective.name = "module:Settings"`` is a method of somebody's own: an ``ObjectiveSettings`` outside of the suite.
"""

from typing import Union

from pretrain.objectives import distillation, mocov3, seed, supervised, us3l  # noqa: F401, each defines a subclass
from pretrain.objectives.step import ObjectiveSettings

OBJECTIVES = {kind.__dataclass_fields__["name"].default: kind for kind in ObjectiveSettings.__subclasses__()}
AnySettings = Union[tuple(OBJECTIVES.values())]  # noqa: UP007, of as many as there are
