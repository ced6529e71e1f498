"""Names that look alike: one letter with an accent, or a letter and an accent, as file systems and editors differ."""

from __future__ import annotations

import unicodedata


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which names that look alike are equal.

    Example:
        >>> composed("cafe\\u0301") == "caf\\u00e9"
        True
    """
    return unicodedata.normalize("NFC", name)


def spellings(name: str) -> list[str]:
    """A name as it is, with ``/`` for ``\\``, and in the two forms of Unicode; each once."""
    plain = name.replace("\\", "/")
    return list(dict.fromkeys([name, plain, composed(plain), unicodedata.normalize("NFD", plain)]))
