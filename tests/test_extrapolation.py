from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from steps_oracle import StepsOracle

import emc
from emc.errors import SpecError, UnknownNameError
from emc.estimate_record import Estimate
from emc.extrapolation import SHARE

Run = Callable[..., Estimate]
FINE = {"check_steps": 1, "min_steps": 100_000}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """An estimate whose training is the oracle's."""

    def run(oracle: StepsOracle, **settings: Any) -> Estimate:
        monkeypatch.setattr("emc.session.make_executor", oracle)
        return emc.estimate(**{"model": "linear", "data": "gaussian:dim=3", **FINE, **settings})

    return run


@pytest.mark.parametrize("size", [90.0, 333.0, 1_234.0])
def test_finds_the_emc_of_steps_that_follow_the_law_without_a_failing_run(run: Run, size: float) -> None:
    oracle = StepsOracle(size)
    found = run(oracle)
    assert found.emc == pytest.approx(size, rel=0.01)
    assert (found.censored, found.reason, found.interrupted) == (False, "", False)
    assert found.interval is not None
    assert found.interval[0] < size < found.interval[1]
    assert {probe.verdict.value for probe in found.probes} == {"fitted"}
    assert max(probe.n for probe in oracle.trained) == found.largest < size
    assert found.ratio == pytest.approx(size / found.largest, rel=0.01)
    assert found.steps > SHARE * 100_000
    assert found.cost["sample_steps"] < found.full_cost["sample_steps"] / 10


def test_the_record_is_read_back_as_it_was(run: Run) -> None:
    found = run(StepsOracle(200.0), replicates=3)
    values = found.to_dict()
    assert (values["kind"], len(values["climbs"])) == ("estimate", 3)
    assert Estimate.from_dict(values) == found


def test_what_is_printed_names_source_distance_study_and_cost(run: Run) -> None:
    rows = dict(run(StepsOracle(200.0), replicates=3).rows())
    assert rows["estimated EMC"] == "200 (no measurement)"
    assert rows["how far to trust it"].startswith("within a factor of ")
    assert "the estimate is 1.27 times that" in rows["extrapolated from"]
    assert "up to n = 158" in rows["extrapolated from"]
    assert rows["replicates"] == "up to 158 158 158 (3 near its limit)"
    assert "a full measurement sees at most" in rows["cost"]


def test_a_failing_run_is_said_and_bends_little(run: Run) -> None:
    found = run(StepsOracle(200.0, fails=(30,)), replicates=4)
    assert found.emc == pytest.approx(200, rel=0.01)
    assert found.climbs[0].end == "ended at a probe that failed"
    assert (found.climbs[0].largest, found.climbs[1].largest) == (22, 158)


def test_a_diverging_run_is_said_and_counts_for_nothing(run: Run) -> None:
    found = run(StepsOracle(200.0, diverges=(16,)), replicates=2)
    assert found.emc == pytest.approx(200, rel=0.01)
    assert (found.climbs[0].largest, found.climbs[0].end) == (0, "ended at a probe that diverged")


@pytest.mark.parametrize(
    ("oracle", "settings", "emc_", "reason"),
    [
        (StepsOracle(500.0), {"n_max": 100}, 100, "6 of 6 replicates fitted all the samples there are"),
        (StepsOracle(500.0), {"n_max": 400}, 309, "only above the 400 samples there are"),
        (StepsOracle(8.0), {}, 0, "0 fitted sizes are too few for a law, it takes 3; lower --n-start"),
        (StepsOracle(24.0, first=0.0009), {}, 22, "2 fitted sizes are too few for a law, it takes 3; lower --n-start"),
        (StepsOracle(500.0, first=0.2), {}, 16, "1 fitted sizes are too few"),
        (StepsOracle(500.0, stop_after=9), {}, 16, "it was interrupted; run the same command to continue"),
    ],
)
def test_a_lower_bound_and_the_reason_where_it_would_not_be_honest(
    run: Run, oracle: StepsOracle, settings: dict[str, Any], emc_: int, reason: str
) -> None:
    found = run(oracle, **settings)
    assert (found.emc, found.censored, found.interval, found.ratio) == (emc_, True, None, None)
    assert reason in found.reason
    rows = dict(found.rows())
    assert rows["estimated EMC"].startswith(f">= {emc_} (")
    assert "law" not in rows
    assert rows["95 % interval"] == "none (nothing was extrapolated)"


def test_the_same_call_continues_from_the_journal(run: Run, tmp_path: Path) -> None:
    journal = tmp_path / "verdicts.jsonl"
    stopped = run(StepsOracle(200.0, stop_after=9), journal=journal)
    assert stopped.interrupted
    again = StepsOracle(200.0)
    whole = run(again, journal=journal)
    assert len(again.trained) == len(whole.probes) - 9
    assert whole.emc == run(StepsOracle(200.0)).emc


def test_other_estimands_and_unknown_settings_are_refused(run: Run) -> None:
    with pytest.raises(SpecError, match=r"an estimate is one of n50, got settings for .*best of 3 inits.*--attempts"):
        run(StepsOracle(200.0), attempts=3)
    with pytest.raises(SpecError, match="linear scan by 16"):
        run(StepsOracle(200.0), growth="linear")
    with pytest.raises(UnknownNameError, match='there is no setting "replicate"; did you mean "replicates"'):
        run(StepsOracle(200.0), replicate=3)


def test_real_training_of_a_linear_model() -> None:
    found = emc.estimate(
        model="linear", data="gaussian:dim=10", min_steps=1_000, check_steps=5, n_start=4, replicates=3
    )
    assert (found.emc, found.censored) == (12, True)  # Cover: n50 is 2 (d + 1) = 22 for a training without a budget
    assert found.emc == sorted(climb.largest for climb in found.climbs)[1]
    assert "too far to trust" in found.reason
    assert found.versions["trainer"] == "compiled"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": "threshold"}, "grows n by its own rule, got --search threshold"),
        ({"criterion": "error<=0.1"}, "and --criterion, or use emc measure"),
        (
            {"optimizer": "lstsq", "loss": "squared", "model": "linear"},
            "the steps of a descent, got --optimizer lstsq",
        ),
    ],
)
def test_what_an_estimate_cannot_answer_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        emc.estimate(data="gaussian:dim=4,size=60", **settings)
