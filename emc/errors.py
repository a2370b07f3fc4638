"""Named errors. Every message is one sentence: the rule, the value received, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EmcError(Exception):
    """Base of every error a user of `emc` can cause or has to know of."""


class SpecError(EmcError):
    """A setting is outside its range, of the wrong type, or contradicts another one."""


class UnknownNameError(EmcError):
    """A plug-in, an option or a setting that does not exist."""


class DuplicateNameError(EmcError):
    """Two plug-ins claim one name."""


class DataError(EmcError):
    """A dataset cannot be read, or what was read cannot be a classification task."""


class JournalError(EmcError):
    """The journal cannot be read or written."""


class TrainingError(EmcError):
    """A training failed for a reason that is no evidence about the procedure, such as an exception in the model."""


class ClusterError(EmcError):
    """A cluster cannot be reached, used, or is gone."""


class OutputError(EmcError):
    """A result or picture cannot be read or written."""


class ComparisonError(EmcError):
    """Results that answer different questions, or too few of them, to be compared or correlated."""


#: Longest name or value of a user's that a message repeats in full, and longest message.
LONGEST_VALUE, LONGEST_MESSAGE = 300, 1500


def printable(text: str) -> str:
    """Text that a terminal shows as it is: what would move its cursor, colour it or break the line, written out.

    >>> print(printable("red \\x1b[31m, and a\\nline"))
    red \\u001b[31m, and a\\u000aline
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def sentence(text: str) -> str:
    """A message as one printable line of bounded length, its end, where the remedy stands, kept.

    >>> sentence("two\\n  lines")
    'two lines'
    """
    line = printable(" ".join(text.split()))
    return (
        line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE // 2]} ... {line[-LONGEST_MESSAGE // 3 :]}"
    )


def shown(value: object) -> str:
    """A value as a message repeats it, shortened where it is long.

    >>> shown("six"), shown([1, 2])
    ("'six'", '[1, 2]')
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists in lists
        return f"a {type(value).__name__} too large to be shown"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 4]} ..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown name: the nearest known one, else the list of all.

    >>> did_you_mean("mpl", ["linear", "mlp", "cnn"])
    'did you mean "mlp"?'
    >>> did_you_mean("zebra", ["linear", "mlp"])
    'known are linear, mlp'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f'did you mean "{close[0]}"?'
    return "known are " + ", ".join(names) if names else "none are known"
