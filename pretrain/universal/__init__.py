"""The universal checkpoint: one file from which a plain backbone of any calibrated width is cut out."""

from pretrain.universal.file import FILE_NAME, network_state, weights_hash
from pretrain.universal.network import UniversalNetwork, backbone_cost, from_pretrained, load_universal

__all__ = [
    "FILE_NAME",
    "UniversalNetwork",
    "backbone_cost",
    "from_pretrained",
    "load_universal",
    "network_state",
    "weights_hash",
]
