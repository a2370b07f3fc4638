from __future__ import annotations

from dataclasses import replace

import pytest
from simulated import cell

from emc.curve_record import Curve
from emc.hypotheses.minima import Minima
from emc.results import Verdict


def test_two_procedures_by_hand() -> None:
    """Two names, three replicates: 2^3 ways, of which two spread the means as far."""
    group = {"a": cell([9] * 3, flatness=[1, 2, 3]), "b": cell([9] * 3, flatness=[4, 8, 12])}
    found = Minima("sharpness", (group,), "largest").test(0.95)
    assert found.honest is not None
    assert found.honest.effect.value == pytest.approx(4)
    assert found.honest.support.high == pytest.approx(2 / 8, rel=0.05)
    assert found.strata[0].name == "b over a"
    assert found.smallest_p == 1 / 4  # 2 of 8 ways name them alike in all replicates
    assert found.interval_confidence == 1 - 2 / 8


def test_only_fits_of_shared_sizes_with_a_curvature_count() -> None:
    a, b = cell([9] * 3, flatness=[1, 2, 3]), cell([9] * 3, flatness=[4, 8, 12])
    failed = replace(b, probes=tuple(replace(p, verdict=Verdict.NOT_FITTED) for p in b.probes))
    other = replace(b, probes=tuple(replace(p, n=11) for p in b.probes))
    unknown = replace(b, probes=tuple(replace(p, detail={"flatness": {"largest": None}}) for p in b.probes))
    without = cell([9] * 3)
    for second in (failed, other, unknown, without):
        assert Minima("sharpness", ({"a": a, "b": second},), "largest").test(0.95).honest is None


def test_curves_will_do() -> None:
    def curve(flatness: list[float]) -> Curve:
        source = cell([9] * 3, flatness=flatness)
        held = {name: getattr(source, name) for name in ("task", "procedure", "dataset", "seed", "probes", "versions")}
        given = {"points": (), "fitted": None, "cover": None, "draws": 3, "confidence": 0.95, "parameters": 10}
        return Curve(**given, **held, fingerprint="c", cost=source.cost, searched=0, interrupted=False)

    found = Minima("sharpness", ({"a": curve([1, 2, 3]), "b": curve([2, 4, 6])},), "trace").test(0.95)
    assert found.honest is not None
    assert found.honest.effect.value == pytest.approx(2)
