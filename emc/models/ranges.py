"""Ranges that options of several families share."""

from __future__ import annotations

from emc.errors import SpecError


def check_sizes(family: str, **sizes: int) -> None:
    """Refuse sizes below 1.

    Raises:
        SpecError: one is.
    """
    for name, size in sizes.items():
        if size < 1:
            raise SpecError(f"{family} needs {name} of at least 1, got {size}")


def check_dropout(family: str, dropout: float) -> None:
    """Refuse what is no probability below 1.

    Raises:
        SpecError: it is none.
    """
    if not 0 <= dropout < 1:
        raise SpecError(f"{family} needs dropout of at least 0 and below 1, got {dropout}")
