"""Reparameterisation: random subspaces and low precision (paper, section on reparameterisation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emc.results import EmcResult
from figures import style
from figures.drawing import draw_rows
from figures.scales import Scale, grid, one
from figures.study import Cell, Study, Taken
from figures.tables import RATIO_COLUMNS, frame, mark, ratio

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MODELS = {
    "smoke": ("mlp:width=3", ("subspace:30",), ("precision:int4",)),
    "cpu": (
        "mlp:width=8",
        ("subspace:100", "subspace:200", "subspace:400"),
        ("precision:bf16", "precision:int8", "precision:int4"),
    ),
    "gpu": (
        "mlp:width=32",
        ("subspace:200", "subspace:400", "subspace:800"),
        ("precision:bf16", "precision:int8", "precision:int4"),
    ),
    "paper": (
        "cnn:width=64",
        ("subspace:1000", "subspace:4000"),
        ("precision:bf16", "precision:int8", "precision:int4"),
    ),
}
#: One budget for all, since some train by PyTorch's modules one at a time: what is compared is the EMC within it.
BUDGET = {"cpu": {"min_steps": 2_000}}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """The model itself, and trained in subspaces and at low precision; random labels.

    Coordinates of a subspace move the weights little, so that they take ten times the rate.
    """
    model, subspaces, precisions = MODELS[scale.name]
    data = "cifar10" if scale.name == "paper" else "digits"
    base = {**scale.base, **BUDGET.get(scale.name, {}), "data": data, "labels": "random", "model": model}
    raised = {**base, "optimizer": "adam:lr=0.03"}
    return [
        one(base),
        grid(base, reparam=list(precisions)),
        grid(raised, reparam=list(subspaces)),
    ]


def table(taken: Taken) -> pd.DataFrame:
    """One row a reparameterisation, with its ratio to the model itself, and the EMC's units a parameter and a bit."""
    plain = next((result for cell, result in taken.results if not cell.get("reparam")), None)
    rows = []
    for cell, result in taken.results:
        against = {} if plain is None or result is plain else ratio(result, plain, "the model itself")
        names = {
            "series": "all",
            "text": _text(cell),
            "model": cell["model"],
            "stored": result.stored,
            "bits": result.bits,
            "bits_per_bit": result.bits_per_bit,
            "per_parameter": _unit(result, result.emc_per_parameter),
            "per_bit": _unit(result, result.bits_per_bit),
        }
        rows.append(names | mark(result) | against)
    own = ("series", "text", "model", "stored", "bits", "bits_per_bit", "per_parameter", "per_bit")
    return frame(rows, *own, after=RATIO_COLUMNS)


def _unit(result: EmcResult, share: float | None) -> float | None:
    """What one sample more adds to a number in proportion to the EMC."""
    return share / result.emc if share is not None and result.emc else None


def _text(cell: Cell) -> str:
    kind, _, option = str(cell.get("reparam") or "").partition(":")
    if not kind:
        return "all parameters, float32"
    return f"subspace of {option}" if kind == "subspace" else f"weights in {option}"


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """Reparameterisations as rows: EMC, samples a trained parameter, label bits a stored bit, ratio to the model."""
    look = style.family(str(table["model"].iloc[0]))
    scaled = [("per_parameter", "samples a trained parameter"), ("per_bit", "label bits a stored bit")]
    draw_rows(figure, table, {"all": look}, ratio_label="EMC relative to first row", scaled=scaled)


STUDY = Study(
    name="reparameterisation",
    asks="Does a network fit more a parameter, or a bit, when fewer are trained?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC of one network trained whole, at low precision, and in random subspaces, random labels; then samples "
    "a trained parameter, label bits a bit that stores what was trained, and the ratio to the network itself "
    "(" + style.RATIOS + "). " + style.MARKS,
)
