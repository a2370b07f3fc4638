from __future__ import annotations

from dataclasses import replace

import emc
from emc.pages.searches import outcome_text, steps
from emc.plotting import Outcome
from emc.results import ProbeResult, Replicate, Status, Verdict

SEARCH = {"search": "bisection", "n_start": 4, "n_max": 100, "tolerance": 0.0}


def probe(n: int, replicate: int, verdict: Verdict) -> ProbeResult:
    return ProbeResult(f"{replicate}-{n}", n, replicate, 0, verdict, steps=1)


def verdicts(emc: int, sizes: list[int], replicate: int) -> list[ProbeResult]:
    return [probe(n, replicate, Verdict.FITTED if n <= emc else Verdict.NOT_FITTED) for n in sizes]


def test_steps_are_the_path_of_the_search_with_its_bracket(make_result):
    found = verdicts(6, [4, 8, 6, 7], 0) + verdicts(3, [4, 2, 3], 1)
    replicates = (Replicate(0, 6, 7, Status.BRACKETED), Replicate(1, 3, 4, Status.BRACKETED))
    result = replace(
        make_result(), search=SEARCH, replicates=replicates, probes=tuple(sorted(found, key=lambda p: p.n))
    )
    shown = [(step.probe.replicate, step.place, step.probe.n, step.lower, step.upper) for step in steps(result)]
    assert shown == [
        (0, 1, 4, 4, None),
        (0, 2, 8, 4, 8),
        (0, 3, 6, 6, 8),
        (0, 4, 7, 6, 7),
        (1, 1, 4, 0, 4),
        (1, 2, 2, 2, 4),
        (1, 3, 3, 3, 4),
    ]


def test_steps_end_where_a_verdict_is_missing(make_result):
    replicates = (Replicate(0, 4, 8, Status.INTERRUPTED),)
    result = replace(make_result(), search=SEARCH, replicates=replicates, probes=tuple(verdicts(4, [4, 8], 0)))
    assert [(step.probe.n, step.lower, step.upper) for step in steps(result)] == [(4, 4, None), (8, 4, 8)]


def test_a_measurement_without_replicates_has_no_steps(make_result):
    assert steps(replace(make_result(), replicates=())) == ()


def test_every_probe_of_a_real_search_has_a_step():
    quick = {"min_steps": 60, "max_epochs": 1, "certify": "none", "tolerance": 0.1}
    result = emc.measure(model="mlp:width=2", data="digits", replicates=2, n_start=4, n_max=64, **quick)
    found = steps(result)
    assert {step.probe.key for step in found} == {probe.key for probe in result.probes}
    ends = {step.probe.replicate: (step.lower, step.upper) for step in found}
    assert [ends[each.replicate] for each in result.replicates] == [
        (each.lower, each.upper) for each in result.replicates
    ]


def test_outcomes_are_named_in_one_line():
    assert outcome_text(Outcome.NO_EVIDENCE) == "diverged or failed (no accuracy)"
