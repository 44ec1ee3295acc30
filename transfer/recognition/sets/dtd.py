"""Describable Textures (Cimpoi et al., "Describing textures in the wild", CVPR 2014): the first of its ten splits.

It is trained on the split's training and validation images together, as Flowers-102 is.
"""

from torchvision.datasets import DTD

from transfer.recognition.sets.flowers import OXFORD
from transfer.recognition.sets.torchvision_files import TRAIN_AND_VAL, TorchvisionFiles

SET = TorchvisionFiles(
    DTD, "dtd/dtd", TRAIN_AND_VAL, ((f"{OXFORD}/dtd/download/dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1"),),
    "dtd",
)  # fmt: skip
