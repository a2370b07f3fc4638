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
