"""Small networks and settings that many tests of pretraining share."""

import torch
from torch import nn

from pretrain.backbones import create_backbone
from pretrain.config import PretrainConfig, validate
from pretrain.slimmable.heads import projector
from pretrain.universal import UniversalNetwork

MEAN, STD = [0.5, 0.45, 0.4], [0.25, 0.22, 0.2]  # of channels that cannot be mistaken for one another


def tiny_config(**changes) -> PretrainConfig:
    """A run of seconds: ResNet-18 of an eighth of the channels on 40 digits; sections are merged with ``changes``."""
    values = {
        "backbone": {"base_channels": 8},
        "data": {"name": "digits", "mean": (0.3,) * 3, "std": (0.4,) * 3, "images_per_class": 4},
        "objective": {"hidden": 16, "outputs": 8},
        # fp32: what ``auto`` stands for depends on the processor
        "training": {
            "iterations": 9, "batch_size": 8, "log_interval": 3, "checkpoint_interval": 2, "threads": 1,
            "precision": "fp32",
        },
        "calibration": {"widths": (1.0, 0.5), "batch_size": 8, "batches": 2},
    }  # fmt: skip
    for section, value in changes.items():
        values[section] = {**values.get(section, {}), **value} if isinstance(value, dict) else value
    return validate(values)


def universal(name: str = "resnet18", stem: str | None = None, widths: tuple[float, ...] = (1.0, 0.5), **options):
    """A random universal network, its norms away from their initial values, calibrated on random images."""
    backbone = create_backbone(name, stem, **options)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    metadata = {
        "method": "us3l", "backbone": backbone.arguments, "width_range": [0.25, 1.0], "seed": 0,
        "epochs": 1, "iterations": 1, "data": {"name": "digits", "images": 10, "image_size": 32},
        "mean": MEAN, "std": STD, "channel_order": "RGB", "calibration": {"widths": []},
    }  # fmt: skip
    net = UniversalNetwork(backbone, metadata)
    if widths:
        net.calibrate([torch.randn(4, 3, 32, 32)], list(widths))
    return net


def universal_with_projector(outputs: int = 8) -> UniversalNetwork:
    """A random universal network that kept its projector, as a teacher."""
    net = universal(widths=(1.0,), base_channels=8)
    features = net.backbone.num_features(1.0)
    teacher = UniversalNetwork(net.backbone, net.metadata, projector=projector(features, hidden=16, outputs=outputs))
    teacher.calibrate([torch.randn(4, 3, 32, 32)], [1.0])
    return teacher


def small_teacher() -> nn.Module:
    """A network of somebody's own: [B, 3, H, W] -> maps [B, 12, H/4, W/4], with batch norms in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        layers = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1))
        layers[1].running_mean.normal_()
    return layers
