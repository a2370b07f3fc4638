"""The four trainings that speed is measured on, all with random labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emc.api import Prepared, prepare
from emc.data.cache import DATA_VARIABLE, data_root
from emc.specs import Measurement

#: Where CIFAR-10 lies below the data root: as images or as torchvision has it.
CIFAR = ("cifar10/train", "cifar-10-batches-py")


@dataclass(frozen=True)
class Case:
    """A model on a dataset.

    Attributes:
        title: what a reader sees.
        settings: of the measurement.
        steps: budget of a probe of the fixed list.
        sizes: of the fixed list, around the EMC at that budget.
        whole: budget of a probe of the measurement from end to end.
        quick: the same for a quick look.
    """

    title: str
    settings: Mapping[str, Any]
    steps: int
    sizes: tuple[int, ...]
    whole: int
    quick: int


CASES = {
    "a": Case(
        "MLP 64-16-10, digits",
        {"model": "mlp:width=16", "data": "digits"},
        steps=600, sizes=(150, 170, 200),
        whole=5_000, quick=500,
    ),
    "b": Case(
        "MLP 3072-16-10, CIFAR-10",
        {"model": "mlp:width=16", "data": "cifar10"},
        steps=300, sizes=(250, 350, 500),
        whole=2_000, quick=200,
    ),
    "c": Case(
        "CNN of width 8, CIFAR-10",
        {"model": "cnn:width=8", "data": "cifar10"},
        steps=100, sizes=(96, 120),
        whole=300, quick=30,
    ),
    "d": Case(
        "linear, Gaussian",
        {"model": "linear", "data": "gaussian:dim=20", "classes": 2},
        steps=500, sizes=(24, 28, 32),
        whole=5_000, quick=500,
    ),
}  # fmt: skip


def load_case(case: Case, steps: int, **settings: Any) -> Prepared | None:
    """The case with such a budget, its failures unexamined; None, and a sentence, where its data is not there."""
    fixed = {"labels": "random", "certify": "none", "min_steps": steps, "max_epochs": 1}
    values = {**case.settings, **fixed, **settings}
    if values["data"] == "cifar10" and not any((data_root() / name).exists() for name in CIFAR):
        print(f"{case.title} is skipped: there is no CIFAR-10 where {DATA_VARIABLE} points.", flush=True)
        return None
    return prepare(Measurement.from_flat(values))
