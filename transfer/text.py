"""Text of strangers, in one line that can be drawn."""


def printable(text: str) -> str:
    """``text`` in one line, with every character that cannot be drawn as its code point, ``\\x1b``."""
    return "".join(
        " " if character.isspace() else character if character.isprintable() else repr(character)[1:-1]
        for character in text
    )
