from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from studied import CPU, Recorded, drawn, made, marks, spread, study_of

from emc.curve_record import Curve, CurvePoint
from emc.results import Verdict
from figures.study import Taken, cells

STUDY = study_of("flatness")


def flat(curve: Curve, n: int, scale: float) -> Curve:
    """A curve at one size, whose draws end at eigenvalues 1, 2, ... times a scale, traces ten times as large."""
    probes = tuple(
        replace(p, detail={**p.detail, "flatness": {
            "largest": scale * (p.replicate + 1), "trace": 10 * scale * (p.replicate + 1), "trace_error": 0.0,
            "products": 9, "loss": 0.1 * scale,
        }})
        for p in curve.probes if p.n == n
    )  # fmt: skip
    return replace(curve, probes=probes, points=(CurvePoint.of(n, probes, 10, 0.95),))


@pytest.fixture
def taken(make_curve: Any) -> Taken:
    curve = make_curve()
    results = tuple((cell, made(cell, spread(100))) for cell in cells(STUDY, CPU))
    given = ({"model": "mlp:width=8", "optimizer": "adam", "batch_size": 32}, flat(curve, 8, 1.0))
    other = ({"model": "mlp:width=8", "optimizer": "adamw:weight_decay=0.01", "batch_size": 4}, flat(curve, 11, 5.0))
    return Taken(CPU, results, (given, other), (), Recorded((), (), {}, {}))


def test_medians_are_those_of_the_draws_that_fitted(taken: Taken) -> None:
    first, second = STUDY.table(taken).to_dict("records")
    assert (first["fitted"], first["draws"], second["fitted"]) == (10, 10, 8)
    assert (first["largest"], first["trace"], first["loss"]) == pytest.approx((5.5, 55, 0.1))
    assert (first["largest_low"], first["largest_high"]) == (2, 9)  # of ten, the second and the last but one
    fitted = [p.detail["flatness"]["largest"] for p in taken.curves[1][1].probes if p.verdict is Verdict.FITTED]
    assert second["largest"] == pytest.approx(sum(sorted(fitted)[3:5]) / 2)


def test_the_emc_of_the_same_optimizer_and_batch_stands_beside_it(taken: Taken) -> None:
    first, second = STUDY.table(taken).to_dict("records")
    assert first["emc"] == 100
    assert str(first["emc_optimizer"]).startswith("adam:")
    assert second["emc"] != second["emc"]  # no such optimizer among those measured


def test_the_caption_tells_the_size_against_the_emc_and_the_rates(taken: Taken) -> None:
    table = STUDY.table(taken)
    text = STUDY.tells(table.assign(optimizer="adam:lr=0.003", emc_optimizer=["adam:lr=0.0003", None]))
    assert "Samples: 8, below every EMC." in text
    assert "another one than the Hessian's for 1 of 1 optimizers, by a factor of up to 10." in text
    assert "No EMC is measured of AdamW, batches of 4." in text
    assert "no fewer than the EMC of Adam, full batch (8)" in STUDY.tells(table.assign(emc=[8, None]))


def test_the_picture_names_optimizers_and_what_did_not_fit(taken: Taken) -> None:
    figure = drawn(STUDY, STUDY.table(taken))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["Adam, full batch", "AdamW, batches of 4 (8 of 10 fitted)"]
    assert [len(marks([axes])) for axes in figure.axes] == [1, 2, 2, 2]
    assert [axes.get_xlabel() for axes in figure.axes][1:] == [
        "largest eigenvalue",
        "trace of the Hessian",
        "training loss at the fit (nats)",
    ]


def test_an_eigenvalue_that_lanczos_did_not_find_counts_for_nothing(taken: Taken) -> None:
    cell, curve = taken.curves[0]
    probes = list(curve.probes)
    probes[0] = replace(probes[0], detail={"flatness": {**probes[0].detail["flatness"], "largest": None}})
    lost = replace(taken, curves=((cell, replace(curve, probes=tuple(probes))),))
    assert STUDY.table(lost)["largest"].iloc[0] == pytest.approx(6)
    assert STUDY.table(lost)["trace"].iloc[0] == pytest.approx(55)
