from __future__ import annotations

import emc
from emc.claiming import weigh_claims
from emc.pages.claims import claims
from emc.recorded import read_recorded

BASE = {"model": "mlp:width=2", "data": "digits", "replicates": 2, "n_max": 24, "min_steps": 100, "max_epochs": 1}


def test_claims_with_cells_are_told_and_the_others_named(tmp_path) -> None:
    journal = tmp_path / "journal.jsonl"
    for labels in ("semantic", "random"):
        emc.measure(**BASE, labels=labels, journal=journal)
    found = read_recorded(journal)
    section = claims(found.results, found.curves)
    assert section is not None
    rows = {row[0].text: row for table in section.tables for row in table.rows}
    judged = {each.name: each for each in weigh_claims(found.results).claims}
    assert rows.keys() == {name for name, each in judged.items() if each.honest is not None}
    assert [cell.text for cell in rows["random_below_semantic"][:-1]] == judged["random_below_semantic"].row()
    assert "relu_far_above" in section.texts[1]


def test_there_is_no_section_without_cells() -> None:
    assert claims((), ()) is None
