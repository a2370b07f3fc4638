"""The page's first section: every measurement in one table, each row opening to its search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from emc.errors import EmcError
from emc.pages.parts import AT_LEAST, Cell, Column, Detail, Figure, Listing, Section, Source, Table, number, ticks
from emc.pages.searches import outcome_text, steps
from emc.pages.settings import setting_cells, settings_of, shortened, telling
from emc.plotting import FAMILY_COLOURS, Outcome
from emc.results import EmcResult, ProbeResult

PROBES = (
    "replicate", "step", "n", "attempt", "outcome", "evidence", "accuracy", "correct", "steps", "seconds", "lower",
    "upper",
)  # fmt: skip

#: Columns before and behind the settings that differ.
_FIRST = (
    Column("no.", True),
    Column("EMC", True),
    Column("interval from", True),
    Column("interval to", True),
    Column("status"),
)
_LAST = (
    Column("parameters", True),
    Column("evidence"),
    Column("replicates", True),
    Column("probes", True),
    Column("steps", True),
    Column("seconds", True),
    Column("fingerprint"),
)

#: On paper there is no room for a column a setting.
_ON_PAPER = Column("settings unlike most", only="paper")


def measurements(results: Sequence[EmcResult], failed: Mapping[str, str]) -> Section:
    """All measurements, and those that could not be made."""
    rows = [settings_of(result) for result in results]
    names = telling(rows)
    cells = [setting_cells(row, names) for row in shortened(rows)]
    heads = [*_FIRST, *_settings(names, cells), _ON_PAPER, *_LAST]
    usual = _usual(cells)
    sources = {f"measurement{place}": source(result) for place, result in enumerate(results)}
    details, lines = [], []
    for place, (result, own, name) in enumerate(zip(results, cells, sources, strict=True)):
        details.append(_detail(result, place + 1, name))
        lines.append((number(place + 1), *_outcome(result), *own, _unusual(own, usual, names), *_cost(result)))
    tables = [Table("Measurements", heads, lines, details)] if lines else []
    if failed:
        gone = [(Cell(name), Cell(text)) for name, text in failed.items()]
        tables.append(Table("Measurements that could not be made", [Column("fingerprint"), Column("reason")], gone))
    seen = _overview(results, cells, names)
    if seen is not None:
        sources["overview"] = seen
    figures = () if seen is None else (Figure("overview", "overview", _OVERVIEW),)
    texts = _texts(results, failed)
    most = ", ".join(f"{name} {text}" for name, text in zip(names, usual, strict=True))
    printed = [f"A row names the settings in which it is unlike most, which have {most}."] if names else []
    return Section("measurements", "Measurements", texts, figures, tables, sources, printed)


def _usual(cells: Sequence[Sequence[Cell]]) -> list[str]:
    """The commonest text of each setting; of equally common ones the first."""
    return [Counter(cell.text for cell in column).most_common(1)[0][0] for column in zip(*cells, strict=True)]


def _unusual(own: Sequence[Cell], usual: Sequence[str], names: Sequence[str]) -> Cell:
    told = [f"{name} {cell.text}" for name, cell, most in zip(names, own, usual, strict=True) if cell.text != most]
    return Cell(", ".join(told) or "as most")


_OVERVIEW = (
    "EMC against trained parameters, one point a measurement. Bars are confidence intervals for n50. Triangles are "
    "lower bounds: the EMC is at least that. The dashed line is one sample a parameter."
)


def _texts(results: Sequence[EmcResult], failed: Mapping[str, str]) -> list[str]:
    if not results:
        return ["The journal holds no finished measurement."] if not failed else ["No measurement was finished."]
    censored = sum(result.censored for result in results)
    text = (
        f"{len(results):,} measurements, of which {censored:,} give a lower bound of the EMC only ({AT_LEAST.strip()})"
    )
    return [f"{text}. Only what differs is shown: the rest is under Procedure and versions."]


def _settings(names: Sequence[str], cells: Sequence[Sequence[Cell]]) -> list[Column]:
    return [Column(name, _is_numeric(cells, at), "screen") for at, name in enumerate(names)]


def _is_numeric(cells: Sequence[Sequence[Cell]], place: int) -> bool:
    return all(row[place].order is not None for row in cells)


def _outcome(result: EmcResult) -> tuple[Cell, ...]:
    emc = number(result.emc, before=AT_LEAST if result.censored else "")
    return emc, *_interval(result), Cell(result.status.key)


def _interval(result: EmcResult) -> tuple[Cell, Cell]:
    low, high = result.interval or (None, None)
    return number(low, ",.5g"), number(high, ",.5g")


def _cost(result: EmcResult) -> tuple[Cell, ...]:
    evidence = ", ".join(f"{count} {kind}" for kind, count in result.deciding_evidence.items())
    return (
        number(result.parameters),
        Cell(evidence),
        number(len(result.replicates)),
        number(result.cost["probes"], ",.0f"),
        number(result.cost["steps"], ",.0f"),
        number(result.cost["seconds"], ",.1f"),
        Cell(result.fingerprint),
    )


def _detail(result: EmcResult, place: int, name: str) -> Detail:
    figures = [Figure("accuracy", name, _ACCURACY)]
    facts = result.rows()
    try:
        if steps(result):
            figures.insert(0, Figure("searches", name, _SEARCHES))
    except EmcError as error:
        facts.append(("order of probes", f"cannot be told: {error}"))
    listing = Listing(name, "probes", f"All {len(result.probes):,} probes")
    return Detail(f"Measurement {place}: EMC {result.rows()[0][1]}", facts, figures, [_replicates(result)], [listing])


_SEARCHES = (
    "Each replicate's search: the sizes in the order they were needed, and the bracket (green) after each, between the "
    "largest fitted size and the smallest that failed."
)
_ACCURACY = (
    "Training accuracy of every trained probe against its size. The green line is the EMC, dashed where it is a lower "
    "bound; the band is its confidence interval."
)


def _replicates(result: EmcResult) -> Table:
    heads = [Column("replicate", True), Column("EMC", True), Column("failed at", True), Column("status")]
    rows = [
        (
            number(each.replicate),
            number(each.emc, before=AT_LEAST if each.status.right_censored else ""),
            number(each.upper),
            Cell(f"{each.status.key}: {each.status.value}"),
        )
        for each in result.replicates
    ]
    return Table("Replicates", heads, rows, sortable=False)


def source(result: EmcResult) -> Source:
    """The numbers behind one measurement's figures."""
    try:
        placed = {step.probe.key: step for step in steps(result)}
    except EmcError:  # told beside the figures
        placed = {}
    probes = []
    for probe in result.probes:
        step = placed.get(probe.key)
        ends = (None, None) if step is None else (step.lower or None, step.upper)
        probes.append(_probe_row(probe, None if step is None else step.place, *ends))
    low, high = result.interval or (None, None)
    return Source(
        {
            "probes": (PROBES, sorted(probes, key=_by_step)),
            "emc": (("emc", "kind"), [(result.emc, _kind(result))] if result.emc else []),
            "interval": (("low", "high"), [(low, high)] if low and high else []),
        },
        ticks(n=[result.emc, low, high, *(probe.n for probe in result.probes)]),
    )


def _probe_row(probe: ProbeResult, step: int | None, lower: int | None, upper: int | None) -> tuple[Any, ...]:
    outcome = Outcome.of(probe)
    told = probe.trained and outcome is not Outcome.NO_EVIDENCE
    evidence = "" if probe.evidence is None else probe.evidence.key
    return (
        probe.replicate, step, probe.n, probe.attempt, outcome_text(outcome), evidence,
        round(probe.correct / probe.n, 6) if told else None, probe.correct, probe.steps, round(probe.seconds, 3), lower,
        upper,
    )  # fmt: skip


def _by_step(row: Sequence[Any]) -> tuple[float, ...]:
    replicate, step, n, attempt = row[:4]
    return replicate, float("inf") if step is None else step, n, attempt


def _kind(result: EmcResult) -> str:
    return "lower bound" if result.censored else "measured"


def _overview(results: Sequence[EmcResult], cells: Sequence[Sequence[Cell]], names: Sequence[str]) -> Source | None:
    """The numbers of the picture of all measurements; None where they have one number of parameters."""
    rows, intervals = [], []
    for result, own in zip(results, cells, strict=True):
        if not result.parameters or not result.emc:
            continue
        low, high = result.interval or (None, None)
        settings = ", ".join(f"{name} {cell.text}" for name, cell in zip(names, own, strict=True))
        family = str(result.procedure.get("model")).partition(":")[0]
        rows.append((result.parameters, result.emc, family, _kind(result), settings, result.fingerprint))
        intervals += [(result.parameters, low, high, family)] if low and high else []
    sizes = sorted({row[0] for row in rows})
    if len(sizes) < 2:
        return None
    heads = ("parameters", "emc", "family", "kind", "settings", "fingerprint")
    tables: dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]] = {
        "measurements": (heads, rows),
        "intervals": (("parameters", "low", "high", "family"), intervals),
        "line": (("parameters", "emc"), [(at, at) for at in (sizes[0], sizes[-1])]),
    }
    ends = [end for row in intervals for end in row[1:3]]
    families = {row[2] for row in rows}
    known = [name for name in FAMILY_COLOURS if name in families]
    legend = [*known, *sorted(families - set(known))]
    drawn = ticks(parameters=sizes, emc=[sizes[0], sizes[-1], *(row[1] for row in rows), *ends])
    return Source(tables, {**drawn, "ticks_families": legend})
