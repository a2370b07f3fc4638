from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from simulated import cell

from emc.curve_record import Curve
from emc.hypotheses.minima import Minima
from emc.results import EmcResult, Verdict
from emc.stats.compare import Array


def test_two_procedures_by_hand() -> None:
    """Two names, three replicates: 2^3 ways, of which two spread the means as far."""
    group = {"a": cell([9] * 3, flatness=[1, 2, 3]), "b": cell([9] * 3, optimizer="sgd", flatness=[4, 8, 12])}
    found = Minima("sharpness", (group,), "largest").test(0.95)
    assert found.honest is not None
    assert found.honest.effect.value == pytest.approx(4)
    assert found.honest.support.high == pytest.approx(2 / 8, rel=0.05)
    assert found.strata[0].name == "b over a"
    assert found.smallest_p == 1 / 4  # 2 of 8 ways name them alike in all replicates
    assert found.interval_confidence == 1 - 2 / 8


def test_only_fits_of_shared_sizes_with_a_curvature_count() -> None:
    a, b = cell([9] * 3, flatness=[1, 2, 3]), cell([9] * 3, optimizer="sgd", flatness=[4, 8, 12])
    failed = replace(b, probes=tuple(replace(p, verdict=Verdict.NOT_FITTED) for p in b.probes))
    other = replace(b, probes=tuple(replace(p, n=11) for p in b.probes))
    unknown = replace(b, probes=tuple(replace(p, detail={"flatness": {"largest": None}}) for p in b.probes))
    without = cell([9] * 3, optimizer="sgd")
    for second in (failed, other, unknown, without):
        assert Minima("sharpness", ({"a": a, "b": second},), "largest").test(0.95).honest is None


def _at(optimizer: str, log_loss: Array, log_flatness: Array, **given: Any) -> EmcResult:
    losses, flatness = (list(np.exp(x)) for x in (log_loss, log_flatness))
    return cell([9] * len(losses), optimizer=optimizer, losses=losses, flatness=flatness, **given)


def _follows_the_loss(rng: np.random.Generator, factor: float, more: float = 0.0) -> dict[str, EmcResult]:
    """Flatness that is the loss to the power 0.7, one optimizer's loss this factor above the other's."""
    loss = rng.normal(-3, 0.4, (2, 10)) + np.log([[1.0], [factor]])
    flat = 0.7 * loss + rng.normal(0, 0.05, (2, 10)) + rng.normal(0, 0.3, 10) + [[0.0], [more]]
    return {name: _at(name, *each) for name, each in zip(("adam", "sgd"), np.stack((loss, flat), axis=1), strict=True)}


def test_where_training_stopped_is_no_difference() -> None:
    """Decades apart nothing is compared; within the factor that counts as comparable the loss is taken away."""
    rng = np.random.default_rng(0)
    apart = Minima("sharpness", (_follows_the_loss(rng, 1000),), "largest").test(0.95)
    assert apart.honest is None
    assert re.search(r"no two optimizers .* stand alone adam at 0\.0\d+, sgd at [34]\d", apart.why)
    found = [Minima("s", (_follows_the_loss(rng, 1.6),), "largest").test(0.95).honest for _ in range(60)]
    p = [each.support.high for each in found if each is not None]
    assert len(p) > 30
    assert np.mean([value <= 0.05 for value in p]) <= 0.1


def test_sharpness_beyond_the_loss_is_one() -> None:
    found = Minima("s", (_follows_the_loss(np.random.default_rng(1), 1.2, 1.0),), "largest").test(0.95)
    assert found.honest is not None
    assert found.honest.support.high < 0.01
    assert found.honest.effect.value == pytest.approx(math.e, rel=0.15)


def test_replicates_left_out_are_told() -> None:
    a = cell([9] * 3, flatness=[1, 2, 3])
    b = cell([9] * 3, optimizer="sgd", flatness=[4, 8, 12])
    b = replace(b, probes=(replace(b.probes[0], verdict=Verdict.NOT_FITTED), *b.probes[1:]))
    found = Minima("sharpness", ({"a": a, "b": b},), "largest").test(0.95)
    assert found.replicates == 2
    assert found.notes[1].startswith("2 of 3 replicates are used, those with a number for every optimizer compared: ")
    assert "left out are 0" in found.notes[1]


def test_curves_will_do() -> None:
    def curve(flatness: list[float], optimizer: str) -> Curve:
        source = cell([9] * 3, flatness=flatness, optimizer=optimizer)
        held = {name: getattr(source, name) for name in ("task", "procedure", "dataset", "seed", "probes", "versions")}
        given = {"points": (), "fitted": None, "cover": None, "draws": 3, "confidence": 0.95, "parameters": 10}
        return Curve(**given, **held, fingerprint="c", cost=source.cost, searched=0, interrupted=False)

    found = Minima("sharpness", ({"a": curve([1, 2, 3], "adam"), "b": curve([2, 4, 6], "sgd")},), "trace").test(0.95)
    assert found.honest is not None
    assert found.honest.effect.value == pytest.approx(2)
