"""How large the studies are: what every cell of a scale shares, stated in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

#: Two-sided sign flips of ten pairs reach p = 2/1024, so that Holm's correction over up to 25 claims can decide at 5 %;
#: nine reach 2/512, which it can over 12.
REPLICATES = 10


@dataclass(frozen=True)
class Scale:
    """One size of all studies.

    Attributes:
        name: as `make figures SCALE=` has it.
        says: for whom, and what it takes.
        base: settings of every cell that says nothing else.
        draws: of every curve, at each size.
        test: share of the rows held out where a study looks at test accuracy.
        on_disk: whether the datasets of the folder of `--with-data` are measured too.
        studies: measured where none is named; None for all.
        apart: whether each model's cells are driven by themselves, so that a GPU's stacks are full: trainings under
            way at once are shared by all models of a drive.
    """

    name: str
    says: str
    base: Mapping[str, Any]
    draws: int = 12
    test: float = 0.25
    on_disk: bool = False
    studies: tuple[str, ...] | None = None
    apart: bool = False

    def with_data(self) -> Scale:
        """The same with the datasets that lie on the disk."""
        return replace(self, on_disk=True)


#: Full-batch descent, whatever n is: its failures end in evidence, those of mini-batches creep on (docs/gallery.md).
FULL_BATCH = 2048

#: Over a doubling of the steps, gains of less than this share of the loss, and of no sample, count as none: the loss
#: then falls more slowly than with the inverse square root of the steps; that of separable samples with their inverse.
STALL = 0.3

SMOKE = Scale(
    "smoke",
    "every study at its least, to see that it works: two minutes; its numbers mean nothing",
    {"replicates": 2, "batch_size": FULL_BATCH, "min_steps": 200, "max_epochs": 1, "n_max": 48, "certify": "none"},
    draws=2,
)
CPU = Scale(
    "cpu",
    "nets of 100 to 900 parameters on data that needs no network: two to three hours on two cores",
    {
        "replicates": REPLICATES,
        "batch_size": FULL_BATCH,
        "stall_tolerance": STALL,
        "max_epochs": 1,
    },
)
GPU = Scale(
    "gpu",
    "wider families in stacks, in pieces that continue: meant for half an hour on one H200, not measured as a whole",
    {
        "replicates": REPLICATES,
        "batch_size": 128,
        "stall_tolerance": STALL,
        "min_steps": 3_000,
        "max_epochs": 1,
        "certify": "none",
    },
    studies=("labels", "generalisation", "architectures", "scaling", "classes", "power_laws", "steps"),
    apart=True,
)
PAPER = Scale(
    "paper",
    "the paper's datasets and grids, mini-batches and full budgets: days on several GPUs",
    {"replicates": REPLICATES},
)

SCALES = {scale.name: scale for scale in (SMOKE, CPU, GPU, PAPER)}


def grid(base: Mapping[str, Any], **axes: Sequence[Any]) -> dict[str, Any]:
    """A sweep of axes, which beat what the base says of the same settings."""
    return {"base": {name: value for name, value in base.items() if name not in axes}, "grid": dict(axes)}


def one(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep of one cell."""
    return grid(cell, model=[cell["model"]])
