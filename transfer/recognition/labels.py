"""Few labels: a share of each class's training images, as in semi-supervised evaluations (1 % and 10 % of ImageNet)."""

import re

import torch

from pretrain.common.errors import UserError
from pretrain.common.randomness import generator
from transfer.recognition.images import Images


def labelled(images: Images, share: float, seed: int) -> Images:
    """``share`` of the images of each class, at least one of each; a pure function of the labels, share and seed.

    With one seed a smaller share is part of a larger one.
    """
    taken = []
    for number in range(len(images.classes)):
        members = (images.labels == number).nonzero().flatten()
        order = generator("labels", seed, number).permutation(len(members))
        taken.append(members[torch.from_numpy(order[: max(1, round(share * len(members)))])])
    return images.subset(torch.cat(taken).sort().values.tolist())


def share(text: str) -> float:
    """``10%``, ``10 %`` or ``0.1`` as a number in (0, 1]; UserError for anything else.

    >>> share("10%"), share("0.1"), share("100%")
    (0.1, 0.1, 1.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)", text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < value <= 1:
        raise UserError(f"'{text}' is no share of the labels; expected e.g. 1% 10% 100%, or 0.1")
    return value
