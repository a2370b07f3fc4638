"""The page's section of claims: which of them have cells here, and what was found; a row opens to all its cells."""

from __future__ import annotations

from collections.abc import Sequence

from emc.claiming import HEAD, QUESTION_HEAD, Judged, detail_rows, weigh_claims
from emc.curve_record import Curve
from emc.pages.parts import Cell, Column, Detail, Section, Table
from emc.results import EmcResult


def claims(results: Sequence[EmcResult], curves: Sequence[Curve]) -> Section | None:
    """The claims and questions of which any part has cells; None where none has."""
    found = weigh_claims(results, curves)
    kinds = (
        ("Claims of the paper", HEAD, found.claims),
        ("Questions without a direction", QUESTION_HEAD, found.questions),
    )
    tables = [_table(caption, head, told) for caption, head, each in kinds if (told := _told(each))]
    if not tables:
        return None
    without = [each.name for each in (*found.claims, *found.questions) if not _num_tested(each)]
    texts = [found.method()[:1].upper() + found.method()[1:] + "."]
    texts += [f"Without cells in this journal: {', '.join(without)}."] if without else []
    return Section("claims", "Claims", texts, (), tables)


def _told(judged: Sequence[Judged]) -> list[Judged]:
    return [each for each in judged if _num_tested(each)]


def _num_tested(judged: Judged) -> int:
    """How many parts of a claim have cells."""
    return sum(part.honest is not None for part in judged.parts)


def _table(caption: str, head: Sequence[str], judged: Sequence[Judged]) -> Table:
    details = [Detail(each.name, detail_rows(each)) for each in judged]
    return Table(caption, [Column(name) for name in head], [_row(each) for each in judged], details)


def _row(judged: Judged) -> list[Cell]:
    texts = judged.row()
    if judged.honest is None:  # some parts are untested, so that the claim is
        texts[-1] = f"{_num_tested(judged)} of {len(judged.parts)} parts"
    return [Cell(text) for text in texts]
