"""Oxford-IIIT Pet (Parkhi et al., "Cats and dogs", CVPR 2012): its trainval and its test images."""

from torchvision.datasets import OxfordIIITPet

from transfer.recognition.sets.flowers import OXFORD
from transfer.recognition.sets.torchvision_files import TorchvisionFiles

SET = TorchvisionFiles(
    OxfordIIITPet, "oxford-iiit-pet", {"train": ({"split": "trainval"},), "test": ({"split": "test"},)},
    (
        (f"{OXFORD}/pets/data/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
        (f"{OXFORD}/pets/data/annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f"),
    ),
    "oxford-iiit-pet",
)  # fmt: skip
