from __future__ import annotations

from dataclasses import replace

import emc
from emc.claiming import weigh_claims
from emc.pages import claims as module
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
    tested = {name: sum(part.honest is not None for part in each.parts) for name, each in judged.items()}
    assert rows.keys() == {name for name, count in tested.items() if count}
    assert [cell.text for cell in rows["random_below_semantic"]] == judged["random_below_semantic"].row()
    facts = {detail.title: dict(detail.facts) for table in section.tables for detail in table.details}
    assert facts["random_below_semantic"]["conclusion"] == judged["random_below_semantic"].sentence()
    assert not any(name in section.texts[1].replace(".", "").split(": ")[1].split(", ") for name in rows)
    assert "relu_far_above" in section.texts[1]


def test_there_is_no_section_without_cells() -> None:
    assert claims((), ()) is None


def test_a_claim_of_which_some_parts_have_cells_says_how_many(tmp_path, monkeypatch) -> None:
    journal = tmp_path / "journal.jsonl"
    for labels in ("semantic", "random"):
        emc.measure(**BASE, labels=labels, journal=journal)
    found = weigh_claims(read_recorded(journal).results)
    whole = found["random_below_semantic"]
    parts = (whole.parts[0], replace(whole.parts[0], honest=None, budget=None))
    half = replace(whole, parts=parts, honest=None, budget=None)
    monkeypatch.setattr(module, "weigh_claims", lambda *_: replace(found, claims=(half,), questions=()))
    section = claims((), ())
    assert section is not None
    assert section.tables[0].rows[0][-1].text == "1 of 2 parts"
    assert len(section.texts) == 1
