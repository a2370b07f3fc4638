"""Results of measurements that were never made, with EMCs of a test's choosing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emc.results import EmcResult, ProbeResult, Replicate, Status, Verdict
from emc.specs import Measurement, digest

#: Shapes of the datasets that tests name; others are tables of four columns.
SHAPES = {"digits": [1, 8, 8], "mnist": [1, 28, 28], "cifar10": [3, 32, 32], "imagenet": [3, 64, 64]}

STATUSES = {
    "": Status.BRACKETED,
    "undertrained": Status.UNDERTRAINED,
    "pool": Status.CENSORED_ABOVE,
}


def cell(
    emcs: Sequence[int],
    *,
    parameters: int = 1000,
    rows: int = 100_000,
    censored: int = 0,
    how: str = "undertrained",
    accuracy: float | None = None,
    flatness: Sequence[float] = (),
    losses: Sequence[float] = (),
    **settings: Any,
) -> EmcResult:
    """A result whose replicates have these EMCs, the first `censored` of them as lower bounds."""
    measurement = Measurement.from_flat({"replicates": len(emcs), **settings})
    statuses = [STATUSES[how if place < censored else ""] for place in range(len(emcs))]
    replicates = tuple(
        Replicate(i, n, None if status is Status.CENSORED_ABOVE else n + 1, status)
        for i, (n, status) in enumerate(zip(emcs, statuses, strict=True))
    )
    order = sorted(range(len(emcs)), key=lambda i: (statuses[i].right_censored, emcs[i]))
    median = order[(len(emcs) - 1) // 2]
    data = measurement.task.data.name
    return EmcResult(
        emc=emcs[median],
        censored=statuses[median].right_censored,
        status=statuses[median],
        lower=emcs[median],
        upper=None,
        interval=None,
        interval_method="none",
        confidence=0.95,
        estimand=measurement.search.estimand,
        replicates=replicates,
        parameters=parameters,
        bits_per_parameter=None,
        task=measurement.task.to_dict(),
        procedure=measurement.procedure.to_dict(),
        search=measurement.search.to_dict() | {"n_start": 16, "n_max": rows},
        dataset={"name": data, "rows": rows, "repeats": 0, "conflicts": 0, "classes": ["a", "b"],
                 "shape": SHAPES.get(data, [4]), "content_hash": f"content of {data}", "test_rows": 100},
        seed=measurement.seed,
        fingerprint=digest({**measurement.to_dict(), "parameters": parameters, "emcs": list(emcs)}),
        probes=tuple(_probes(replicates, accuracy, flatness, losses)),
        cost={"probes": 0, "steps": 0, "sample_steps": 0, "seconds": 0.0},
        versions={"emc": "0.1.0", "results": 4, "device": "cpu"},
        bits=32 * parameters,
    )  # fmt: skip


def _probes(
    replicates: Sequence[Replicate], accuracy: float | None, flatness: Sequence[float], losses: Sequence[float]
) -> list[ProbeResult]:
    found = []
    for place, replicate in enumerate(replicates):
        test = {} if accuracy is None else {"test_correct": round(1000 * accuracy), "test_rows": 1000}
        flat = {"flatness": {"largest": flatness[place], "trace": 2 * flatness[place]}} if flatness else {}
        if test:
            found.append(_fit(replicate.lower, place, test))
        if flat:
            found.append(_fit(10, place, flat, losses[place] if losses else 0.1))
    return found


def _fit(n: int, replicate: int, detail: dict[str, Any], loss: float | None = None) -> ProbeResult:
    key = digest({"n": n, "replicate": replicate, **detail})
    return ProbeResult(key, n, replicate, 0, Verdict.FITTED, correct=n, loss=loss, steps=10, detail=detail)
