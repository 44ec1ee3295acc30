"""The methods. A new one is one file here, its settings in this list, and a config.

``objective.name = "module:Settings"`` is a method of somebody's own: an ``ObjectiveSettings`` outside of the suite.
"""

from typing import get_args

from pretrain.objectives.distillation import DistillationSettings
from pretrain.objectives.mocov3 import MoCoV3Settings
from pretrain.objectives.seed import SeedSettings
from pretrain.objectives.supervised import SupervisedSettings
from pretrain.objectives.us3l import US3LSettings

AnySettings = US3LSettings | MoCoV3Settings | SeedSettings | DistillationSettings | SupervisedSettings
OBJECTIVES = {kind.__dataclass_fields__["name"].default: kind for kind in get_args(AnySettings)}
