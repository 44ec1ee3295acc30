"""CIFAR-100 (Krizhevsky, "Learning multiple layers of features from tiny images", 2009)."""

from torchvision.datasets import CIFAR100

from transfer.recognition.sets.cifar10 import SPLITS, TORONTO
from transfer.recognition.sets.torchvision_files import TorchvisionFiles

SET = TorchvisionFiles(
    CIFAR100, "cifar-100-python", SPLITS,
    ((f"{TORONTO}/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),), folders=True,
)  # fmt: skip
