"""CIFAR-10 (Krizhevsky, "Learning multiple layers of features from tiny images", 2009)."""

from torchvision.datasets import CIFAR10

from transfer.recognition.sets.torchvision_files import TorchvisionFiles

SPLITS = {"train": ({"train": True},), "test": ({"train": False},)}
TORONTO = "https://www.cs.toronto.edu/~kriz"

SET = TorchvisionFiles(
    CIFAR10, "cifar-10-batches-py", SPLITS,
    ((f"{TORONTO}/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),), folders=True,
)  # fmt: skip
