"""The methods. A new one is one file here, its settings in this list, and a config."""

from pretrain.objectives.mocov3 import MoCoV3Settings
from pretrain.objectives.seed import SeedSettings
from pretrain.objectives.supervised import SupervisedSettings
from pretrain.objectives.us3l import US3LSettings

AnySettings = US3LSettings | MoCoV3Settings | SeedSettings | SupervisedSettings
