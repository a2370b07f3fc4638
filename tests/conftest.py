"""Results made by hand, one of every status a user may be shown."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from emc.curve_record import CoverCheck, Curve, CurvePoint
from emc.results import EmcResult, Evidence, ProbeResult, Replicate, Status, Verdict, cost
from emc.specs import Measurement, digest
from emc.stats.cover import band
from emc.stats.fitted import FittedCurve

MakeResult = Callable[..., EmcResult]

settings.register_profile("emc", deadline=None, derandomize=True)
settings.load_profile("emc")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often each fault is injected."""
    parser.addoption("--trials", help="a number for each fault, or full; default: a few (tests/faults)")


#: Folders and files whose tests start processes and clusters, or kill them: the greater part of the time.
SLOW = ("faults", "executors", "models/test_entry_points.py", "pages/test_browser.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow by where it lies."""
    root = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(root).as_posix()
        if any(place == slow or place.startswith(f"{slow}/") for slow in SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_configure(config: pytest.Config) -> None:
    """Tests run on the CPU, whatever the machine has, and hear Ctrl-C: only those marked cuda, by name, see a GPU."""
    if "cuda" not in (config.getoption("markexpr") or ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what it puts into the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table of `make faults`: trials and losses of each fault."""
    if config.getoption("--trials") is None:
        return
    rows = [
        (*facts, report.outcome, report.duration)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, facts in report.user_properties
        if name == "fault" and report.when == "call"
    ]
    terminalreporter.write_line("| fault | trials | losses | outcome | seconds |\n|---|---|---|---|---|")
    for fault, trials, losses, outcome, seconds in rows:
        terminalreporter.write_line(f"| {fault} | {trials:,} | {losses} | {outcome} | {seconds:,.0f} |")


def _probe(n: int, replicate: int, verdict: Verdict, evidence: Evidence | None = None, missed: int = 0) -> ProbeResult:
    return ProbeResult(
        key=digest([n, replicate, verdict.value]),
        n=n,
        replicate=replicate,
        attempt=0,
        verdict=verdict,
        evidence=evidence,
        correct=n - missed,
        loss=0.01 if verdict is not Verdict.DIVERGED else None,
        gradient_norm=0.00123456 if evidence else None,
        steps=1000,
        sample_steps=1000 * min(n, 128),
        seconds=0.5,
        detail={"stopped": "stall", "polish_gain": 0.25} if evidence else {},
    )


def _search(replicate: int, lower: int, upper: int | None, evidence: Evidence) -> list[ProbeResult]:
    """The probes of a growth from 16 and a bisection that ends at lower and upper."""
    probes, n = [], 16
    while n < lower:
        probes.append(_probe(n, replicate, Verdict.FITTED))
        n *= 2
    if upper is not None:
        grown = max(n, upper)
        sizes = {grown, (grown + upper) // 2, upper}
        probes += [_probe(n, replicate, Verdict.NOT_FITTED, evidence, max(1, (n - lower) // 4)) for n in sizes]
    probes.append(_probe(lower, replicate, Verdict.FITTED))
    return sorted(probes, key=lambda probe: probe.n)


_LOWERS = (100, 92, 108, 97, 104, 112)
_STATUSES = {
    "bracketed": (Status.BRACKETED, Evidence.NOISE_FLOOR),
    "undertrained": (Status.UNDERTRAINED, Evidence.BUDGET),
    "non_monotone": (Status.NON_MONOTONE, Evidence.STATIONARY),
    "censored": (Status.CENSORED_ABOVE, Evidence.BUDGET),
    "diverged": (Status.DIVERGED, Evidence.BUDGET),
    "interrupted": (Status.INTERRUPTED, Evidence.BUDGET),
}


def _build(kind: str, replicates: int) -> tuple[list[Replicate], list[ProbeResult]]:
    status, evidence = _STATUSES[kind]
    found, probes = [], []
    for replicate, lower in enumerate(_LOWERS[:replicates]):
        upper = None if kind in ("censored", "diverged", "interrupted") else lower + 5
        own = _search(replicate, lower, upper, evidence)
        deciding = next((probe.key for probe in own if probe.n == upper), None)
        also_fitted = (lower + 9,) if kind == "non_monotone" else ()
        own += [_probe(n, replicate, Verdict.FITTED) for n in also_fitted]
        if kind == "diverged":
            own.append(_probe(lower + 5, replicate, Verdict.DIVERGED, missed=lower + 5))
        found.append(Replicate(replicate, lower, upper, status, deciding, also_fitted))
        probes += own
    return found, probes


def _make_result(kind: str = "bracketed", replicates: int = 6, **changes: Any) -> EmcResult:
    found, probes = _build(kind, replicates)
    status = found[0].status
    censored = status.right_censored
    lower = sorted(replicate.lower for replicate in found)[(replicates - 1) // 2]
    measurement = Measurement.from_flat({"model": "mlp:width=16", "labels": "random", "replicates": replicates})
    values: dict[str, Any] = {
        "emc": lower,
        "censored": censored,
        "status": status,
        "lower": lower,
        "upper": None if censored else lower + 5,
        "interval": None if censored or replicates < 2 else (92.0, 117.0),
        "interval_method": "one replicate" if replicates < 2 else "censored" if censored else "order statistics",
        "confidence": 0.95,
        "estimand": measurement.search.estimand,
        "replicates": tuple(found),
        "parameters": 1210,
        "bits_per_parameter": 0.2745,
        "task": measurement.task.to_dict(),
        "procedure": measurement.procedure.to_dict(),
        "search": measurement.search.to_dict(),
        "dataset": {"name": "digits", "rows": 1797, "repeats": 0, "conflicts": 0, "classes": 10, "shape": [1, 8, 8]},
        "seed": 0,
        "fingerprint": digest(measurement.to_dict()),
        "probes": tuple(probes),
        "cost": {"probes": len(probes), "steps": 1000 * len(probes), "sample_steps": 12345, "seconds": 0.5},
        "versions": {"emc": "0.1.0", "torch": "2.6.0", "device": "cpu", "trainer": "lockstep"},
    }
    return EmcResult(**(values | changes))


@pytest.fixture
def make_result() -> MakeResult:
    """`make_result(kind, replicates)` of a kind in bracketed, undertrained, non_monotone, censored, diverged, ..."""
    return _make_result


def _trial(lr: float, fitted: list[int], diverged: int, right: float, steps: int) -> dict[str, Any]:
    score = sum(math.log(n) for n in fitted) / len(fitted)
    cost = {"probes": 5 - diverged, "steps": steps, "sample_steps": 100 * steps, "seconds": 1.0 - diverged / 2}
    return {
        "rung": 0,
        "candidate": {"lr": lr, "batch_size": 128},
        "min_steps": 1000,
        "max_epochs": 10,
        "fitted": fitted,
        "diverged": diverged,
        "score": score,
        "right": right,
        "cost": cost,
    }


@pytest.fixture
def tuning() -> dict[str, Any]:
    """The record of a tuning of two rates in one rung."""
    return {
        "tuner": "halving:rates=2",
        "seed": 77,
        "chosen": {"lr": 0.003, "batch_size": 128},
        "at_edge": True,
        "cost": {"probes": 9, "steps": 5500, "sample_steps": 550_000, "seconds": 1.5},
        "trials": [_trial(0.003, [100, 120], 0, 0.9, 4000), _trial(0.03, [80, 60], 1, 0.8, 1500)],
    }


def _make_curve(evidence: Evidence = Evidence.NOISE_FLOOR, **changes: Any) -> Curve:
    """Ten draws of a linear model on six Gaussian features, of which 10, 8, 4, 1 and 0 fit."""
    fits = {8: 10, 11: 8, 14: 4, 18: 1, 24: 0}
    probes = [
        _probe(n, draw, Verdict.FITTED) if draw < count else _probe(n, draw, Verdict.NOT_FITTED, evidence, 2)
        for n, count in fits.items()
        for draw in range(10)
    ]
    points = tuple(CurvePoint.of(n, [p for p in probes if p.n == n], 10, 0.95) for n in fits)
    regions = band(list(fits), [10] * len(fits), 6, 0.95)
    sizes, values = (8.0, 14.0, 24.0), (0.97, 0.45, 0.02)
    measurement = Measurement.from_flat({"model": "linear", "data": "gaussian:dim=6", "labels": "random"})
    filled: dict[str, Any] = {
        "points": points,
        "fitted": FittedCurve(
            13.2, None, False, (11.5, 15.0), "posterior", sizes, values, (0.8, 0.2, 0.0), (1.0, 0.7, 0.2)
        ),
        "cover": CoverCheck(6, regions, (), 0.95),
        "draws": 10,
        "confidence": 0.95,
        "parameters": 14,
        "task": measurement.task.to_dict(),
        "procedure": measurement.procedure.to_dict(),
        "dataset": {"name": "Gaussian", "rows": 4000, "shape": [6]},
        "seed": 0,
        "fingerprint": "abc",
        "probes": tuple(probes),
        "cost": cost(probes),
        "searched": 0,
        "interrupted": False,
        "versions": {"emc": "0.1.0", "device": "cpu"},
    }
    return Curve(**(filled | changes))


@pytest.fixture
def make_curve() -> Callable[..., Curve]:
    """`make_curve(evidence)` with failures of one kind of evidence."""
    return _make_curve
