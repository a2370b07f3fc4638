"""A journal with names that a page must not take for HTML, measurements that differ in one setting, and a curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from page_journals import write_journal

from emc.curve_record import Curve
from emc.results import EmcResult
from emc.specs import Measurement

MakeResult = Callable[..., EmcResult]

#: Names that a page has to show as they are.
HOSTILE = (
    "<script>document.title='stolen'</script>",
    "</script><img src=x onerror=document.title='stolen'>",
    "\"quoted\" 'single' & &lt;b&gt; </template></table>",
    "Übermodell-模型-🙂-\u202e",
    "long" * 200,
)


@pytest.fixture
def sized(make_result: MakeResult) -> Callable[..., EmcResult]:
    """`sized(width, emc, kind)`: a measurement of an MLP of that width, with probes of its own."""

    def make(width: int, emc: int = 100, kind: str = "bracketed", **changes: Any) -> EmcResult:
        specs = Measurement.from_flat({"model": f"mlp:width={width},depth=1", "labels": "random", "replicates": 6})
        found = make_result(kind, emc=emc, parameters=75 * width + 10)
        probes = tuple(replace(probe, key=f"{width}-{number}") for number, probe in enumerate(found.probes))
        facts = dict(found.dataset) | {"content_hash": "abc"}
        values = {"procedure": specs.procedure.to_dict(), "probes": probes, "dataset": facts}
        search = found.search | {"n_start": 16, "n_max": 1797}
        return replace(found, **(values | {"fingerprint": f"width{width}", "search": search} | changes))

    return make


@pytest.fixture
def hostile(sized: Callable[..., EmcResult], make_curve: Callable[..., Curve], tmp_path: Path) -> Path:
    """A journal whose names are hostile."""
    results = [
        sized(4 + place, 40 + 30 * place, "censored" if place == 4 else "bracketed", warnings=(name,))
        for place, name in enumerate(HOSTILE)
    ]
    named = [
        replace(
            result,
            dataset=dict(result.dataset) | {"name": name},
            task=dict(result.task) | {"duplicates": name},
            versions=dict(result.versions) | {"torch": name},
        )
        for result, name in zip(results, HOSTILE, strict=True)
    ]
    named.append(replace(sized(9, 190), task=named[0].task))
    facts = {"name": "Gaussian", "rows": 4000, "shape": [6], "content_hash": "abc"}
    return write_journal(tmp_path / "<b>&journal.jsonl", named, [make_curve(dataset=facts)], HOSTILE[0])
