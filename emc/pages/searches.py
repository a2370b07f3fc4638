"""How each replicate's bracket closed: the search told its verdicts once more, in the order it asked for them."""

from __future__ import annotations

from dataclasses import dataclass

from emc.plotting import Outcome
from emc.results import EmcResult, ProbeResult, Verdict
from emc.search.base import Ask
from emc.search.path import Shown
from emc.search.replicate import ReplicateSearch
from emc.specs import Search

_SHOWN = {Verdict.FITTED: Shown.FITTED, Verdict.NOT_FITTED: Shown.NOT_FITTED, Verdict.DIVERGED: Shown.NOTHING}


@dataclass(frozen=True)
class Step:
    """One probe of a search, and the bracket once its verdict was known.

    Attributes:
        place: in its replicate's search, from 1.
        probe: what was asked.
        lower: largest fitted size below the upper end; 0 if none was fitted.
        upper: smallest size that failed; None while nothing had.
    """

    place: int
    probe: ProbeResult
    lower: int
    upper: int | None


def steps(result: EmcResult) -> tuple[Step, ...]:
    """The probes of a result's replicates in the order they were needed; empty where it has no replicates."""
    if not result.replicates:
        return ()
    search = Search.from_dict(result.search)
    known = {(probe.replicate, Ask(probe.n, probe.attempt)): probe for probe in result.probes}
    found: list[Step] = []
    for replicate in result.replicates:
        live = ReplicateSearch(search, *search.sizes)
        place = 0
        while live.bracket is None:
            ask = live.ask()[0]
            probe = known.get((replicate.replicate, ask))
            if probe is None or probe.verdict not in _SHOWN:  # it was interrupted, or a training failed
                break
            live.tell(ask, _SHOWN[probe.verdict])
            place += 1
            found.append(Step(place, probe, *live.bounds()))
    return tuple(found)


def outcome_text(outcome: Outcome) -> str:
    """An outcome as legends and tables name it."""
    return " ".join(outcome.value.split())
