"""Masks of COCO's format, checked as far as pycocotools and the frameworks trust them."""

from transfer.detection.data.boxes import Tally
from transfer.detection.data.format import Rle

CORNERS = 6  # numbers of a polygon with an area


def checked_mask(mask: list | Rle, width: int, height: int, tally: Tally) -> list | Rle | None:
    """The mask as it is used, None where no part has an area. Errors: ValueError that says what is wrong with it."""
    if isinstance(mask, list):
        odd = [polygon for polygon in mask if len(polygon) % 2]
        if odd:
            raise ValueError(f"has a polygon of {len(odd[0])} numbers; expected pairs of x and y")
        parts = [polygon for polygon in mask if len(polygon) >= CORNERS]
        if not parts:
            numbers = f"polygons of at most {max(map(len, mask))} numbers" if mask else "no polygon"
            raise ValueError(f"has {numbers}; expected one of three points or more")
        tally.parts += len(mask) - len(parts)
        return parts
    if mask["size"] != [height, width]:
        raise ValueError(f"has run lengths of the size {mask['size']}; expected the image's, [{height}, {width}]")
    counts = mask["counts"] if isinstance(mask["counts"], list) else decompressed(mask["counts"])
    if sum(counts) != width * height or min(counts, default=0) < 0:
        raise ValueError(f"has run lengths of {sum(counts)} pixels; expected {width} x {height}")
    return mask


def decompressed(text: str) -> list[int]:
    """Run lengths of COCO's compressed string: digits of 5 bits, least first, of which a sixth bit says that more
    follow; from the fourth number on the difference to the one two before. Errors: ValueError.

    >>> decompressed("52203"), decompressed("PP4")
    ([5, 2, 2, 2, 5], [4096])
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise ValueError(f"has run lengths with the character {character!r}, which COCO's have not")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("has run lengths that end within a number")
    return counts
