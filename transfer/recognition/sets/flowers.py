"""Flowers-102 (Nilsback and Zisserman, "Automated flower classification over a large number of classes", ICVGIP 2008).

It has three splits, and the paper does not say which it trains on: here training and validation images together
(2,040), as is usual for linear evaluation.
"""

from torchvision.datasets import Flowers102

from transfer.recognition.sets.torchvision_files import TRAIN_AND_VAL, TorchvisionFiles

OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"

SET = TorchvisionFiles(
    Flowers102, "flowers-102", TRAIN_AND_VAL,
    (
        (f"{OXFORD}/flowers/102/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
        (f"{OXFORD}/flowers/102/imagelabels.mat", "e0620be6f572b9609742df49c70aed4d"),
        (f"{OXFORD}/flowers/102/setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c"),
    ),
    "flowers-102",
)  # fmt: skip
