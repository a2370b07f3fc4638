"""What a page is made of: sections with tables, rows that open, and figures; all texts are plain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emc.plotting import readable_ticks

#: Before a lower bound.
AT_LEAST = "\N{GREATER-THAN OR EQUAL TO} "


@dataclass(frozen=True)
class Cell:
    """One place of a table.

    Attributes:
        text: as a reader sees it.
        order: what it is sorted and filtered by; None stands for the text itself, or for a number that is missing.
    """

    text: str
    order: float | None = None


def number(value: float | None, form: str = ",", before: str = "") -> Cell:
    """The cell of a number, which may be missing.

    >>> number(1797, before=">= ")
    Cell(text='>= 1,797', order=1797)
    """
    return Cell("") if value is None else Cell(f"{before}{value:{form}}", value)


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: its head.
        numeric: whether it holds numbers.
        only: "screen" or "paper" where it is shown on one of the two; empty for both.
    """

    name: str
    numeric: bool = False
    only: str = ""


@dataclass(frozen=True)
class Source:
    """Numbers behind figures.

    Attributes:
        tables: by name, the columns' names and the rows, plain JSON values.
        ticks: of logarithmic axes, and texts of legends and axes, by the name that `emc.pages.charts` gives them.
    """

    tables: Mapping[str, tuple[tuple[str, ...], Sequence[Sequence[Any]]]]
    ticks: Mapping[str, Sequence[int] | Sequence[str]] = field(default_factory=dict)


def ticks(**sizes: Iterable[float | None]) -> dict[str, list[int]]:
    """Ticks of logarithmic axes that show these sizes.

    >>> ticks(n=[16, 128, None])
    {'ticks_n': [20, 50, 100]}
    """
    known = {name: [size for size in found if size] for name, found in sizes.items()}
    return {
        f"ticks_{name}": readable_ticks(min(found) / 1.1, max(found) * 1.1) for name, found in known.items() if found
    }


@dataclass(frozen=True)
class Figure:
    """A picture that is drawn when it is first seen.

    Attributes:
        kind: which of `emc.pages.charts.CHARTS` draws it.
        source: name of its numbers on the page.
        caption: below it.
    """

    kind: str
    source: str
    caption: str


@dataclass(frozen=True)
class Listing:
    """A table that is made when it is first opened, from one of the tables of a source."""

    source: str
    table: str
    caption: str


@dataclass(frozen=True)
class Detail:
    """What a row opens to.

    Attributes:
        title: its heading.
        facts: names and texts.
        figures, tables, listings: in this order below them.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    listings: Sequence[Listing] = ()


@dataclass(frozen=True)
class Table:
    """A table with its caption.

    Attributes:
        caption: what it shows.
        columns: their heads; the first names the row.
        rows: cells in the columns' order.
        details: what each row opens to, where rows do.
        sortable: whether a reader can sort and filter it.
        opened: whether its rows are open at first.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    details: Sequence[Detail] = ()
    sortable: bool = True
    opened: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: its anchor.
        title: its heading.
        texts: paragraphs.
        figures, tables: in this order below them.
        sources: numbers behind its figures, by name; names are unique on a page.
        printed: paragraphs that stand on paper only.
    """

    name: str
    title: str
    texts: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)
    printed: Sequence[str] = ()
