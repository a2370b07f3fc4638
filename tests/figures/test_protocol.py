from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from studied import drawn, hollow, made, marks, spread, study_of, taken_of

from emc.results import EmcResult, Status

STUDY = study_of("protocol")


def twice_by_seed(_: int, cell: Any) -> EmcResult:
    found = made(cell, [n * (2 if "seed" in cell else 1) for n in spread(100)])
    return replace(found, estimand="n50, best of 3 inits") if "attempts" in cell else found


def test_every_change_is_held_against_the_protocol() -> None:
    taken = taken_of("protocol", twice_by_seed)
    table = STUDY.table(taken)
    assert len(table) == len(taken.results)
    own = table[table["setting"] == ""]
    assert len(own) == 1
    assert own["ratio"].isna().all()
    changes = table[table["setting"] != ""].set_index("setting")
    assert changes.loc["seed", "ratio"] == pytest.approx(2)
    assert (changes.drop("seed")["ratio"] == 1).all()
    assert list(changes.index[changes["other_estimand"]]) == ["attempts"]
    assert changes.loc["attempts", "estimand"] == "n50, best of 3 inits"
    assert list(changes.loc["tolerance", "value"]) == ["0.02", "0.2"]


def test_the_picture_has_a_row_for_each_change_with_its_numbers() -> None:
    table = STUDY.table(taken_of("protocol", twice_by_seed))
    figure = drawn(STUDY, table)
    (axes,) = figure.axes
    assert len(marks([axes])) == len(table) - 1
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert {"seed = 1", "n start = 8", "growth = linear:step=16"} <= set(names)
    assert "2.00 (" in " ".join(text.get_text() for text in axes.texts)
    colours = {str(mark.get_markeredgecolor()) for mark in marks([axes])}
    assert len(colours) == 2  # that of the other estimand too


def test_open_ratios_are_dotted_and_told_as_bounds() -> None:
    def cut(_: int, cell: Any) -> EmcResult:
        return made(
            cell, spread(100), statuses=dict.fromkeys(range(7), Status.UNDERTRAINED) if "seed" in cell else None
        )

    table = STUDY.table(taken_of("protocol", cut))
    figure = drawn(STUDY, table)
    assert not hollow(marks(figure.axes))
    assert sum(line.get_linestyle() == ":" for line in figure.axes[0].lines) == 1
    (text,) = [text.get_text() for text in figure.axes[0].texts if text.get_text()[0] == "\N{GREATER-THAN OR EQUAL TO}"]
    seed = table[table["setting"] == "seed"].iloc[0]
    assert f"to {seed['ratio_high']:.2f})" in text
    both = STUDY.table(taken_of("protocol", lambda _, cell: made(cell, spread(100), Status.UNDERTRAINED)))
    texts = [text.get_text() for text in drawn(STUDY, both).axes[0].texts]
    row = both[both["setting"] == "seed"].iloc[0]
    assert f"open ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})" in texts


def test_without_the_protocol_itself_there_are_no_ratios() -> None:
    table = STUDY.table(taken_of("protocol", lambda place, cell: made(cell, spread(100)) if place else None))
    assert table["ratio"].isna().all()
    assert marks(drawn(STUDY, table).axes) == []
