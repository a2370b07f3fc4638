"""`emc.curve`, driven over oracles in the trainer's place, and once over real trainings of tiny nets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles import Noisy, Oracle, OracleExecutor, memoriser

import emc
from emc.curve_record import Curve
from emc.curves import check_sizes, grid
from emc.errors import SpecError, UnknownNameError
from emc.results import Evidence, Verdict
from emc.seeds import derive
from emc.stats.cover import separable


@dataclass
class Oracled:
    """Curves whose probes an oracle answers; `executors` are those of all drives so far."""

    patch: Callable[[Callable[..., OracleExecutor]], None]
    executors: list[OracleExecutor]

    def __call__(
        self, oracle: Oracle, *, weigh: Any = None, stop_after: int | None = None, slots: int = 1, **settings: Any
    ) -> Curve:
        more = {} if weigh is None else {"weigh": weigh}
        more |= {"order": 0} if slots > 1 else {}

        def make(*_: Any) -> OracleExecutor:
            self.executors.append(OracleExecutor(oracle, stop_after=stop_after, slots=slots, **more))
            return self.executors[-1]

        self.patch(make)
        return emc.curve(**({"model": "linear", "data": "gaussian:dim=3,size=400", "draws": 4} | settings))

    @property
    def trained(self) -> int:
        """Probes that were trained, all drives together."""
        return sum(len(executor.results) for executor in self.executors)


@pytest.fixture
def oracled(monkeypatch: pytest.MonkeyPatch) -> Oracled:
    monkeypatch.setattr("emc.stats.fitted.RESAMPLES", 10)
    return Oracled(lambda make: monkeypatch.setattr("emc.session.make_executor", make), [])


def cover(dim: int) -> Oracle:
    """Draws that follow Cover's theorem, nested."""

    def oracle(n: int, replicate: int, _attempt: int) -> Verdict:
        luck = derive("cover", replicate) / 2**63
        return Verdict.FITTED if luck < separable(n, dim) else Verdict.NOT_FITTED

    return oracle


def test_a_look_up_model_steps_where_it_is_full(oracled: Oracled) -> None:
    curve = oracled(memoriser(50), sizes=[60, 40, 50, 51, 40], draws=3)
    assert [(p.n, p.fits, p.failures, p.fit_share) for p in curve.points] == [
        (40, 3, 0, 1.0), (50, 3, 0, 1.0), (51, 0, 3, 0.0), (60, 0, 3, 0.0),
    ]  # fmt: skip
    assert [p.accuracy for p in curve.points] == pytest.approx([1.0, 1.0, 50 / 51, 59 / 60])
    assert curve.n50 == pytest.approx(50.5, abs=0.6)
    assert (curve.cost["probes"], curve.searched, oracled.trained) == (12, 0, 12)
    low, high = curve.points[0].fit_interval or (0, 0)
    assert (low, high) == pytest.approx((0.4385, 1.0), abs=1e-4)  # Wilson, 3 of 3


def test_sizes_are_found_around_the_emc(oracled: Oracled) -> None:
    curve = oracled(Noisy(0, 100, 0.1), draws=4)
    assert len(curve.points) == 9
    assert curve.points[0].fit_share == 1.0
    assert curve.points[-1].fit_share == 0.0
    assert curve.n50 == pytest.approx(100, rel=0.15)
    assert 0 < curve.searched < curve.cost["probes"]
    assert curve.cost["probes"] == oracled.trained


def test_what_scouting_trained_ahead_is_told_unless_the_curve_uses_it(oracled: Oracled) -> None:
    curve = oracled(Noisy(0, 100, 0.1), draws=4, slots=12)
    assert curve.unused["probes"] > 0
    assert curve.cost["probes"] + curve.unused["probes"] == oracled.trained
    assert curve.unused["unfinished"] == sum(len(executor.dropped) for executor in oracled.executors)
    assert "also trained and not used" in dict(curve.rows())["cost"]
    assert Curve.from_dict(json.loads(curve.to_json())) == curve
    alone = oracled(Noisy(0, 100, 0.1), draws=4)
    assert (alone.unused, alone.n50, alone.probes) == ({}, curve.n50, curve.probes)


def test_the_grid_stays_in_the_pool_and_spans_the_scouts() -> None:
    assert grid([np.log(400.0)] * 4, 400)[-1] == 400
    assert grid([0.0] * 4, 400) == [1]
    wide = grid([np.log(n) for n in (50, 80, 120, 200)], 10_000)
    assert wide[0] < 50
    assert wide[-1] > 200
    ratios = np.diff(np.log(wide))
    assert ratios.max() < 1.1 * ratios.min()


def test_a_pool_fitted_whole_says_what_to_do(oracled: Oracled) -> None:
    curve = oracled(memoriser(1000))
    assert (curve.n50, curve.interval, curve.points[-1].n) == (None, None, 400)
    assert dict(curve.rows())["EMC (n50)"] == (
        "none (at least half of the draws fit at every size; name larger --sizes)"
    )


def test_nothing_fitted_says_so_too(oracled: Oracled) -> None:
    rows = dict(oracled(memoriser(0), sizes=[2, 4]).rows())
    assert rows["EMC (n50)"] == "none (less than half of the draws fit at every size; name smaller --sizes)"


def test_diverged_draws_are_no_evidence(oracled: Oracled) -> None:
    def oracle(n: int, replicate: int, _attempt: int) -> Verdict:
        return Verdict.DIVERGED if replicate == 0 or n == 30 else memoriser(15)(n, replicate, 0)

    curve = oracled(oracle, sizes=[10, 20, 30], draws=3)
    assert [(p.fits, p.failures, p.diverged, p.fit_share) for p in curve.points] == [
        (2, 0, 1, 1.0), (0, 2, 1, 0.0), (0, 0, 3, None),
    ]  # fmt: skip
    assert curve.n50 is not None
    assert "no evidence" in dict(curve.rows())["30"]


def test_nothing_but_divergence(oracled: Oracled) -> None:
    curve = oracled(lambda *_: Verdict.DIVERGED, sizes=[10, 20])
    assert dict(curve.rows())["EMC (n50)"] == "none (no draw gave evidence)"


def test_undertrained_failures_make_a_lower_bound(oracled: Oracled) -> None:
    curve = oracled(memoriser(15), sizes=[10, 20], weigh=lambda *_: Evidence.BUDGET)
    assert [p.undertrained for p in curve.points] == [0, 4]
    assert dict(curve.rows())["EMC (n50)"].startswith(">= 1")
    assert dict(curve.rows())["undertrained"].startswith("4 of 4 failures; there P(fit) is a lower bound")
    one = oracled(
        memoriser(15), sizes=[10, 20], weigh=lambda _n, r, _a: Evidence.BUDGET if r == 0 else Evidence.MINIMUM
    )
    assert not dict(one.rows())["EMC (n50)"].startswith(">=")
    assert "counted as fits, they would make n50" in dict(one.rows())["undertrained"]


def test_ctrl_c_gives_no_share_where_draws_are_missing(oracled: Oracled) -> None:
    curve = oracled(memoriser(15), sizes=[10, 20], draws=4, stop_after=5)
    assert curve.interrupted
    assert [p.missing for p in curve.points] == [1, 2]  # one draw after the other, each at both sizes
    assert [p.fit_share for p in curve.points] == [None, None]
    rows = dict(curve.rows())
    assert rows["EMC (n50)"] == "none (no size has all its draws)"
    assert "no share, 1 draws missing" in rows["10"]


def test_ctrl_c_while_sizes_are_found(oracled: Oracled) -> None:
    curve = oracled(memoriser(15), stop_after=3)
    assert (curve.interrupted, curve.points, curve.searched) == (True, (), 3)
    assert dict(curve.rows())["EMC (n50)"] == "none (no size has all its draws)"


def test_the_journal_is_shared_with_measure(oracled: Oracled, tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    settings: dict[str, Any] = {"model": "linear", "data": "gaussian:dim=3,size=400", "journal": journal}
    oracled(memoriser(16), sizes=[16, 32], draws=2, journal=journal)
    result = emc.measure(replicates=2, tolerance=0.05, **settings)
    assert result.emc == 16
    asked = {(p.n, p.replicate) for p in oracled.executors[-1].added}
    assert asked
    assert not asked & {(n, replicate) for n in (16, 32) for replicate in (0, 1)}


RANDOM: dict[str, Any] = {"labels": "random", "sizes": [5, 8, 11], "draws": 5}


def test_cover_is_laid_over_what_it_holds_for(oracled: Oracled) -> None:
    curve = oracled(cover(3), **RANDOM | {"draws": 40})
    assert curve.cover is not None
    assert (curve.cover.dim, curve.cover.n50, curve.cover.inside) == (3, 8, True)
    assert [region.probability for region in curve.cover.regions] == [separable(n, 3) for n in (5, 8, 11)]
    assert dict(curve.rows())["Cover's theorem"].startswith("inside the band")


def test_what_leaves_covers_band_is_named(oracled: Oracled) -> None:
    curve = oracled(memoriser(9), **RANDOM | {"draws": 40})
    assert curve.cover is not None
    assert curve.cover.outside == (8, 11)
    assert "outside, at n = 8, 11, the band" in dict(curve.rows())["Cover's theorem"]


@pytest.mark.parametrize(
    "changes",
    [{"model": "mlp:width=2"}, {"labels": "semantic"}, {"labels": "shuffled"}, {"classes": 3}, {"data": "digits"}],
    ids=str,
)
def test_cover_says_nothing_elsewhere(oracled: Oracled, changes: dict[str, Any]) -> None:
    curve = oracled(memoriser(8), **RANDOM | changes)
    assert curve.cover is None
    assert "Cover's theorem" not in dict(curve.rows())


def test_arrays_are_in_no_known_position(oracled: Oracled) -> None:
    X = np.random.default_rng(0).standard_normal((40, 3))
    curve = oracled(memoriser(8), data=(X, np.arange(40) % 2), **RANDOM)
    assert curve.cover is None


def test_a_curve_survives_its_record(oracled: Oracled) -> None:
    for oracle in (cover(3), memoriser(0), lambda *_: Verdict.DIVERGED):
        curve = oracled(oracle, **RANDOM)
        assert Curve.from_dict(json.loads(curve.to_json())) == curve


def test_a_rate_to_be_tuned_is_tuned_first() -> None:
    found = emc.curve(
        model="linear",
        data="gaussian:dim=4,size=60",
        labels="random",
        optimizer="adam:lr=auto",
        tune="halving:rates=2",
        sizes=[8],
        draws=2,
        min_steps=400,
        max_epochs=1,
    )
    assert found.tuning is not None
    assert f"lr={found.tuning['chosen']['lr']}" in found.procedure["optimizer"]
    assert "tuned" in str(found)


def test_real_trainings_of_a_linear_model() -> None:
    curve = emc.curve(
        model="linear", data="gaussian:dim=2,size=60", labels="random", sizes=[3, 12], draws=4, min_steps=400,
        max_epochs=1, optimizer="adam:lr=0.1", check_steps=20,
    )  # fmt: skip
    assert curve.points[0].fits == 4  # d + 1 points are always separable
    assert curve.points[1].fits == 0  # P = 0.03 a draw
    assert curve.cover is not None
    assert curve.cover.inside
    assert curve.parameters == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": [10, 401]}, r"--sizes must be at most the pool's 400 rows, got 401; lower it or use a larger pool"),
        ({"sizes": [0, 10]}, r"--sizes must be whole numbers of at least 1, got 0; write 30,36,42 or 30:60:3"),
        ({"sizes": [10.5]}, r"--sizes must be whole numbers of at least 1, got 10.5"),
        ({"sizes": [True]}, r"--sizes must be whole numbers of at least 1, got True"),
        ({"sizes": []}, r"--sizes must name at least one size, got none"),
        ({"draws": 0}, r"--draws must be a whole number of at least 1, got 0; 20 is usual"),
        ({"draws": 2.5}, r"--draws must be a whole number of at least 1, got 2.5"),
        ({"replicates": 6}, r'a curve has fixed sizes and draws, so it takes no "replicates"; use draws'),
        ({"n_max": 60}, r'a curve has fixed sizes and draws, so it takes no "n_max"; use sizes'),
    ],
    ids=str,
)
def test_mistakes(oracled: Oracled, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        oracled(memoriser(8), **settings)
    assert oracled.trained == 0


def test_an_unknown_setting_is_told() -> None:
    with pytest.raises(UnknownNameError, match=r'there is no setting "lables"; did you mean "labels"\?'):
        emc.curve(lables="random")


def test_sizes_may_come_from_numpy() -> None:
    sizes = check_sizes(np.array([30, 10, 30]), 100)
    assert sizes == [10, 30]
    assert json.dumps(sizes) == "[10, 30]"


def test_what_needed_no_training_has_no_accuracy() -> None:
    """Every input twice, with both labels: a conflict is a verdict at once."""
    X = np.random.default_rng(0).standard_normal((60, 3))
    y = np.arange(60) % 2
    pool = (np.concatenate([X, X]), np.concatenate([y, 1 - y]))
    found = emc.curve(
        data=pool, model="linear", duplicates="keep", sizes=[2, 100], draws=2, min_steps=400, max_epochs=1
    )
    assert found.points[0].accuracy is not None
    assert (found.points[1].fit_share, found.points[1].accuracy) == (0.0, None)
    assert "untried" in str(found)


def test_wrong_sizes_are_told_before_anything_is_tuned() -> None:
    with pytest.raises(SpecError, match="at most the pool's 60 rows, got 99"):
        emc.curve(data="gaussian:dim=4,size=60", sizes=[10, 99], optimizer="adam:lr=auto", draws=2)
