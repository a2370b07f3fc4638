"""The page's section of claims: which of them have cells here, what was found, and in one sentence each why."""

from __future__ import annotations

from collections.abc import Sequence

from emc.claiming import HEAD, QUESTION_HEAD, Judged, weigh_claims
from emc.curve_record import Curve
from emc.pages.parts import Cell, Column, Section, Table
from emc.results import EmcResult


def claims(results: Sequence[EmcResult], curves: Sequence[Curve]) -> Section | None:
    """The claims and questions that have cells; None where none has."""
    found = weigh_claims(results, curves)
    kinds = (
        ("Claims of the paper", HEAD, found.claims),
        ("Questions without a direction", QUESTION_HEAD, found.questions),
    )
    tables = [_table(caption, head, told) for caption, head, each in kinds if (told := _told(each))]
    if not tables:
        return None
    without = [each.name for each in (*found.claims, *found.questions) if each.honest is None]
    texts = [found.method()[:1].upper() + found.method()[1:] + "."]
    texts += [f"Without cells in this journal: {', '.join(without)}."] if without else []
    return Section("claims", "Claims", texts, (), tables)


def _told(judged: Sequence[Judged]) -> list[Judged]:
    return [each for each in judged if each.honest is not None]


def _table(caption: str, head: Sequence[str], judged: Sequence[Judged]) -> Table:
    columns = [Column(name) for name in (*head, "in words")]
    rows = [[Cell(text) for text in (*each.row(), each.sentence())] for each in judged]
    return Table(caption, columns, rows)
