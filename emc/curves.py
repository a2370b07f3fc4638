"""Training accuracy and P(fit) against n: `curve`, and how its sizes are found where none are named."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from emc.api import Prepared, prepare_named
from emc.curve_record import CoverCheck, Curve, CurvePoint
from emc.data import DATA
from emc.data.regimes import LABELS
from emc.engine import Observer
from emc.errors import SpecError, shown
from emc.estimators.replicated import MeasuredReplicate
from emc.journal import Journal
from emc.resolve import ModelFactory, OwnData
from emc.results import ProbeResult, Verdict, cost
from emc.search.base import Ask
from emc.search.fixed import DRAWS, REPLACED, FixedSizes
from emc.session import Driven
from emc.specs import Search, digest
from emc.stats.cover import band
from emc.stats.fitted import Array, fit_curve
from emc.stopping import stoppable
from emc.trainings import TrainFunction

#: Sizes of a grid that is not named.
GRID_SIZES = 9
#: Draws that are searched to place such a grid, and how finely.
SCOUTS = 4
SCOUT_TOLERANCE = 0.1
#: Such a grid reaches this many standard deviations of the scouts' log EMC to either side; no fewer than `SPREAD`.
REACH, SPREAD = 3.0, 0.05


def curve(
    *,
    model: str | ModelFactory = "mlp",
    data: OwnData = "digits",
    train: str | TrainFunction | None = None,
    sizes: Sequence[int] | None = None,
    draws: int = DRAWS,
    observer: Observer | None = None,
    journal: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Curve:
    """Mean training accuracy and P(fit) against n, with the fitted curve and the EMC (n50).

    Every draw (replicates 0 to draws - 1 of `emc.measure`: own order of samples, labels and inits) is tried at every
    size. A draw's smaller samples are the beginning of its larger ones, so the points of a curve are not independent of
    each other; the interval of n50 and the fitted curve's band allow for that, the Wilson intervals are each for one
    size alone. All are conditional on the pool. Draws that diverge are no evidence and are counted apart; no fresh
    seed stands in for them.

    Without named sizes, four draws are searched as `emc.measure` does, up to a tolerance of 10 %, and the grid is nine
    sizes, equally spaced in log n, up to three standard deviations of their log EMC around the middle.

    Where Cover's theorem gives P(fit) exactly (a linear model, two classes, uniformly random labels, points in general
    position), the points are held against a band around it.

    Args:
        model: as in `emc.measure`.
        data: as in `emc.measure`.
        train: as in `emc.measure`.
        observer: as in `emc.measure`.
        journal: as in `emc.measure`.
        sizes: n to try, each at least 1 and at most the pool's rows.
        draws: tried at each size.
        settings: any other setting of `Task`, `Procedure` or `Execution`, and `seed` and `confidence`.

    Raises:
        EmcError: a setting, the data or the journal is wrong, or a training raised; the message says the remedy.
    """
    for name in settings:
        if name in REPLACED:
            raise SpecError(f'a curve has fixed sizes and draws, so it takes no "{name}"; use {REPLACED[name]}')
    check_draws(draws)
    prepared = prepare_named(model, data, journal, settings, train)
    return run_curve(prepared, sizes, draws, observer)


@stoppable()
def run_curve(
    prepared: Prepared, sizes: Sequence[int] | None = None, draws: int = DRAWS, observer: Observer | None = None
) -> Curve:
    """The curve of a prepared measurement, its tuning first; its search and replicates are not used.

    Ctrl-C returns what is known.

    Raises:
        SpecError: sizes or draws out of range.
        JournalError: the journal cannot be read or written.
        TrainingError: a training raised.
    """
    check_draws(draws)
    if sizes is not None:
        check_sizes(sizes, prepared.dataset.facts.rows)
    prepared = prepared.tuned(observer)
    scouted: list[ProbeResult] = []
    driven = None
    if sizes is None:
        sizes, scouted, driven = _find_sizes(prepared, observer)
        if driven.interrupted:
            return _conclude(prepared, [], draws, scouted, [], driven)
    sizes = check_sizes(sizes, prepared.dataset.facts.rows)
    searches = [FixedSizes(sizes, draw) for draw in range(draws)]
    for known in scouted:
        if known.n in sizes and known.replicate < draws and known.attempt == 0:
            searches[known.replicate].tell(Ask(known.n, replicate=known.replicate), known)
    driven = prepared.drive(searches, observer).after(driven)
    probes = [result for search in searches for result in search.results()]
    found = _conclude(prepared, sizes, draws, scouted, probes, driven)
    if prepared.execution.journal is not None and not found.interrupted:
        with Journal(prepared.execution.journal) as journal:
            journal.note(found.record(prepared.cell))
    return found


def check_draws(draws: int) -> None:
    """Refuse what is no number of draws.

    Raises:
        SpecError: fewer than one.
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise SpecError(f"--draws must be a whole number of at least 1, got {shown(draws)}; {DRAWS} is usual")


def check_sizes(sizes: Sequence[int], rows: int) -> list[int]:
    """The sizes in ascending order, each once.

    Raises:
        SpecError: none, no whole number, one below 1, or one above the pool.
    """
    if len(sizes) == 0:
        raise SpecError("--sizes must name at least one size, got none; write 30,36,42 or 30:60:3")
    for n in sizes:
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise SpecError(f"--sizes must be whole numbers of at least 1, got {shown(n)}; write 30,36,42 or 30:60:3")
        if n > rows:
            raise SpecError(f"--sizes must be at most the pool's {rows} rows, got {n}; lower it or use a larger pool")
    return sorted({int(n) for n in sizes})


def _find_sizes(prepared: Prepared, observer: Observer | None) -> tuple[list[int], list[ProbeResult], Driven]:
    """A grid on which P(fit) falls from about 1 to about 0, the probes that placed it, and how their drive ended."""
    n_start, n_max = prepared.measurement.search.sizes
    scouts = [MeasuredReplicate(Search(tolerance=SCOUT_TOLERANCE), n_start, n_max, number) for number in range(SCOUTS)]
    driven = prepared.drive(scouts, observer)
    probes = [result for scout in scouts for result in scout.results()]
    ends = [scout.bounds() for scout in scouts]
    middles = [math.log(max(lower, 1) * (upper or max(lower, 1))) / 2 for lower, upper in ends]
    return grid(middles, prepared.dataset.facts.rows), probes, driven


def grid(log_sizes: Sequence[float], rows: int) -> list[int]:
    """Sizes around a few log EMCs, equally spaced in log n as far as whole numbers allow, none above the pool.

    >>> grid([math.log(n) for n in (38, 40, 42, 46)], rows=1000)
    [32, 34, 36, 38, 41, 44, 47, 50, 53]
    """
    spread = max(float(np.std(log_sizes, ddof=1)), SPREAD)
    middle = float(np.median(log_sizes))
    sizes = np.exp(np.linspace(middle - REACH * spread, middle + REACH * spread, GRID_SIZES))
    return sorted({int(n) for n in np.clip(np.rint(sizes), 1, rows)})


def _conclude(
    prepared: Prepared,
    sizes: Sequence[int],
    draws: int,
    scouted: Sequence[ProbeResult],
    probes: Sequence[ProbeResult],
    driven: Driven,
) -> Curve:
    measurement = prepared.measurement
    used = {probe.key: probe for probe in (*scouted, *probes)}.values()
    confidence = measurement.confidence
    points = tuple(CurvePoint.of(n, [p for p in probes if p.n == n], draws, confidence) for n in sizes)
    told = [point for point in points if point.fit_share is not None]
    rows = prepared.dataset.facts.rows
    return Curve(
        points=points,
        fitted=fit_curve([p.n for p in told], *outcomes(told, probes), rows, confidence) if told else None,
        cover=_check_cover(prepared, told),
        draws=draws,
        confidence=confidence,
        parameters=prepared.parameters,
        task=measurement.task.to_dict(),
        procedure=measurement.procedure.to_dict(),
        dataset=prepared.dataset.facts.to_dict(),
        seed=measurement.seed,
        fingerprint=digest({"base": prepared.base, "sizes": list(sizes), "draws": draws, "confidence": confidence}, 16),
        probes=tuple(probes),
        cost=cost(used),
        searched=len({probe.key for probe in scouted}),
        interrupted=driven.interrupted,
        versions=driven.versions,
        tuning=None if prepared.tuning is None else prepared.tuning.to_dict(),
        unused=driven.unused(used),
    )


def outcomes(points: Sequence[CurvePoint], probes: Sequence[ProbeResult]) -> tuple[Array, Array, Array]:
    """Whether a draw fitted, gave evidence, and failed undertrained, at each point: 0 or 1, (draws, points) each."""
    columns = {point.n: place for place, point in enumerate(points)}
    rows = {draw: place for place, draw in enumerate(sorted({probe.replicate for probe in probes}))}
    fits, trials, undertrained = np.zeros((3, len(rows), len(columns)))
    for probe in probes:
        if probe.n in columns and probe.verdict in (Verdict.FITTED, Verdict.NOT_FITTED):
            where = rows[probe.replicate], columns[probe.n]
            trials[where] = 1
            fits[where] = probe.verdict is Verdict.FITTED
            undertrained[where] = probe.evidence is not None and probe.evidence.undertrained
    return fits, trials, undertrained


def _check_cover(prepared: Prepared, points: Sequence[CurvePoint]) -> CoverCheck | None:
    """The points against Cover's theorem; None where it says nothing of them."""
    task = prepared.measurement.task
    exact = (
        prepared.setup.linear
        and prepared.setup.plan.solve is None
        and prepared.num_classes == 2
        and bool(LABELS.get(task.labels.name).facts.get("uniform"))
        and task.data.name in DATA.names()
        and bool(DATA.get(task.data.name).facts.get("general_position"))
    )
    if not exact or not points:
        return None
    dim = math.prod(prepared.dataset.facts.shape)
    confidence = prepared.measurement.confidence
    regions = band([p.n for p in points], [p.fits + p.failures for p in points], dim, confidence)
    outside = tuple(p.n for p, region in zip(points, regions, strict=True) if not region.accepts(p.fits))
    return CoverCheck(dim, regions, outside, confidence)
