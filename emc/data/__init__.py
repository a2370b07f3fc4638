"""Datasets by name, and what is done to their labels and inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emc.registry import PluginSpec, Registry

if TYPE_CHECKING:
    from emc.data.dataset import Dataset, Raw

#: A source takes no positional argument and returns a `Raw`; its keyword-only parameters are its options. Fact:
#: `general_position=True` where no d + 1 of the points lie in one hyperplane, as Cover's theorem asks.
DATA: Registry[Raw] = Registry("dataset", "emc.data.sources", "emc.data")


def load(spec: PluginSpec | str, duplicates: str = "drop") -> Dataset:
    """The pool of a named dataset.

    Raises:
        UnknownNameError: no such dataset or option.
        DataError: it cannot be read, or is no classification task.
    """
    from emc.data.dataset import make_dataset

    return make_dataset(DATA.build(spec), duplicates)
