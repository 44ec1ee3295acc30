"""How many proposals a picture of another size deserves."""

MINIMUM_PROPOSALS = 32


def count_at(ratio: float, value: int) -> int:
    """So many anchors, regions or proposals on an image whose sides are ``ratio`` times the recipe's."""
    return max(min(value, MINIMUM_PROPOSALS), round(value * ratio))
