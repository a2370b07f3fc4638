from __future__ import annotations

from typing import Any

import pytest
from studied import drawn, made, marks, study_of, taken_of

from emc.results import EmcResult, Status

STUDY = study_of("power_laws")
DIGITS = "MLP, digits, random labels"


def in_proportion(_: int, cell: Any) -> EmcResult:
    """An EMC of half the parameters; those are a hundred times the width."""
    width = int(str(cell["model"]).partition("width=")[2].partition(",")[0])
    return made(cell, [50 * width + r for r in range(10)], parameters=100 * width)


def test_an_emc_in_proportion_to_the_parameters_has_an_exponent_of_one() -> None:
    table = STUDY.table(taken_of("power_laws", in_proportion))
    law = table[table["series"] == DIGITS].iloc[0]
    assert law["exponent"] == pytest.approx(1, abs=0.05)
    assert law["exponent_low"] < 1.03
    assert law["factor"] == pytest.approx(0.5, rel=0.3)
    assert (law["fitted_sizes"], law["left_out"]) == ((table["series"] == DIGITS).sum(), 0)
    assert len(set(table[table["series"] == DIGITS]["exponent"])) == 1


def test_a_size_with_a_censored_replicate_is_left_out_and_told() -> None:
    def cut(place: int, cell: Any) -> EmcResult:
        found = in_proportion(place, cell)
        lowers = [r.lower for r in found.replicates]
        kinds = {0: Status.UNDERTRAINED} if cell["model"] == "mlp:width=3" else None
        return made(cell, lowers, statuses=kinds, parameters=found.parameters or 0)

    table = STUDY.table(taken_of("power_laws", cut))
    law = table[table["series"] == DIGITS].iloc[0]
    assert (law["left_out"], law["bound_side"]) == (1, "at most")
    texts = [label.get_text() for label in drawn(STUDY, table).axes[1].get_yticklabels()]
    assert texts[0].startswith(DIGITS)
    assert f"1 of {law['fitted_sizes'] + 1:.0f} sizes left out" in texts[0]


def test_a_series_without_a_law_has_its_marks_and_says_why() -> None:
    def few(place: int, cell: Any) -> EmcResult | None:
        return in_proportion(place, cell) if place < 2 else None

    table = STUDY.table(taken_of("power_laws", few))
    assert table["exponent"].isna().all()
    assert table["not_fitted_since"].str.startswith("a power law takes at least 3 sizes").all()
    figure = drawn(STUDY, table)
    assert (len(marks(figure.axes[:1])), len(marks(figure.axes[1:]))) == (2, 0)
