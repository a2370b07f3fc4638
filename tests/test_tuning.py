"""Tuning against the same measurement with its rate named by hand, and against what it must never do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import OracleExecutor, memoriser
from torch import nn

import emc
from emc import tuning
from emc.api import Prepared, prepare
from emc.errors import SpecError
from emc.journal import read
from emc.optimizers import OPTIMIZERS
from emc.results import EmcResult, Progress, Status
from emc.specs import Execution, Measurement
from emc.training.lockstep import LockstepTrainer
from emc.tuners import Candidate
from emc.tuning import choose, tuning_seed

SMALL = {
    "data": "gaussian:dim=4,size=40",
    "labels": "random",
    "model": "linear",
    "min_steps": 45,
    "max_epochs": 1,
    "check_steps": 10,
    "certify": "none",
    "replicates": 2,
    "tolerance": 0.2,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def measure(**settings: Any) -> EmcResult:
    """Without asking ahead: what is asked then depends on which thread ends first."""
    return emc.measure(**{**SMALL, "speculation": 1, **settings})


def ready(**settings: Any) -> Prepared:
    return prepare(Measurement.from_flat({**SMALL, **settings}))


def without_time(result: EmcResult) -> dict[str, Any]:
    probes = tuple(replace(probe, seconds=0.0) for probe in result.probes)
    return replace(result, probes=probes, cost={**result.cost, "seconds": 0.0}, tuning=None).to_dict()


def tuning_of(result: EmcResult) -> dict[str, Any]:
    assert result.tuning is not None
    return dict(result.tuning)


def test_the_tuned_measurement_is_the_one_with_the_rate_named_by_hand() -> None:
    tuned = measure(optimizer="adam:lr=auto,beta1=0.8", tune="halving:rates=3,factor=10")
    lr = tuning_of(tuned)["chosen"]["lr"]
    by_hand = measure(optimizer=f"adam:lr={lr},beta1=0.8")
    assert without_time(tuned) == without_time(by_hand)
    assert by_hand.tuning is None


def test_the_table_holds_every_candidate_and_the_best_of_the_last_rung_is_chosen() -> None:
    result = measure(optimizer="adam:lr=0.05", tune="halving:rates=3,factor=4,replicates=2,widen=0")
    tuning = tuning_of(result)
    first = [trial for trial in tuning["trials"] if trial["rung"] == 0]
    last = [trial for trial in tuning["trials"] if trial["rung"] == 1]
    assert {trial["candidate"]["lr"] for trial in first} == {0.0125, 0.05, 0.2}
    assert [trial["min_steps"] for trial in first + last] == [11, 11, 11, 45]
    assert last[0]["candidate"] == tuning["chosen"] == max(first, key=lambda trial: trial["score"])["candidate"]
    assert all(len(trial["fitted"]) == 2 and trial["cost"]["steps"] > 0 for trial in first + last)
    assert tuning["cost"]["steps"] == sum(trial["cost"]["steps"] for trial in first + last)
    assert EmcResult.from_dict(result.to_dict()).tuning == result.tuning


def test_tuning_sees_no_draw_that_is_measured(tmp_path: Path) -> None:
    journal = tmp_path / "verdicts.jsonl"
    result = measure(tune="halving:rates=2", journal=journal)
    measured = {probe.key for probe in result.probes}
    lines = list(read(journal, "probe"))
    tuning = tuning_of(result)
    assert len(lines) == len(measured) + tuning["cost"]["probes"]
    assert tuning["seed"] == tuning_seed(0) != 0
    own, other = ready().setup.pool, replace(ready(seed=tuning["seed"])).setup.pool
    assert not torch.equal(own.samples(0).store(40)[1], other.samples(0).store(40)[1])
    assert len({tuning_seed(seed) for seed in range(100)} | set(range(100))) == 200


def test_tuning_says_what_it_trained_ahead_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    executors: list[OracleExecutor] = []

    def make(*_: Any) -> OracleExecutor:
        executors.append(OracleExecutor(memoriser(20), slots=16))
        return executors[-1]

    monkeypatch.setattr("emc.session.make_executor", make)
    result = measure(tune="halving:rates=2,replicates=2,widen=0", replicates=1, speculation=None)
    tuning = tuning_of(result)
    trained = sum(len(executor.results) for executor in executors[:-1])
    assert tuning["cost"]["probes"] + tuning["unused"]["probes"] == trained
    assert tuning["unused"]["unfinished"] == sum(len(executor.dropped) for executor in executors[:-1]) > 0
    assert "also trained and not used" in dict(result.rows())["tuned"]


def test_tuning_resumes_from_the_journal(tmp_path: Path) -> None:
    journal = tmp_path / "verdicts.jsonl"
    first = measure(tune="halving", journal=journal)
    kept = list(read(journal, "probe"))
    again = measure(tune="halving", journal=journal)
    assert list(read(journal, "probe")) == kept
    assert again.to_dict() == {**first.to_dict(), "versions": again.versions}
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:12]))
    resumed = measure(tune="halving", journal=journal)
    assert without_time(resumed) == without_time(first)
    assert tuning_of(resumed)["chosen"] == tuning_of(first)["chosen"]
    assert len(list(read(journal, "probe"))) == len(kept)


def test_a_diverging_candidate_loses() -> None:
    result = measure(
        model="mlp:width=4,depth=2",
        optimizer="sgd:lr=1e30",
        schedule="constant",
        tune="halving:rates=2,factor=1000,widen=9,replicates=1,rungs=1",
        retries=0,
    )
    tuning = tuning_of(result)
    diverged = [trial for trial in tuning["trials"] if trial["diverged"]]
    assert 1e30 in {trial["candidate"]["lr"] for trial in diverged}
    assert tuning["chosen"]["lr"] not in {trial["candidate"]["lr"] for trial in diverged}


def test_the_range_is_widened_towards_the_better_end_and_an_end_is_said() -> None:
    settings = {"optimizer": "adam:lr=1e-3", "min_steps": 150}
    narrow = measure(**settings, tune="halving:rates=3,factor=10,replicates=1,widen=0")
    assert tuning_of(narrow)["at_edge"]
    assert "at an end of those tried" in str(narrow)
    wide = measure(**settings, tune="halving:rates=3,factor=10,replicates=1,widen=5")
    rates = {trial["candidate"]["lr"] for trial in tuning_of(wide)["trials"]}
    assert max(rates) >= 0.1
    assert min(rates) == 1e-4
    assert tuning_of(wide)["chosen"]["lr"] > tuning_of(narrow)["chosen"]["lr"]


def test_of_candidates_that_fit_everything_the_quickest_is_chosen() -> None:
    tuning = tuning_of(measure(n_max=3, min_steps=2000, tune="halving:rungs=1,factor=10,replicates=1,widen=0"))
    full = [trial["cost"]["sample_steps"] for trial in tuning["trials"] if trial["fitted"] == [3]]
    assert len(full) > 1
    assert tuning["trials"][0]["cost"]["sample_steps"] == min(full)
    assert tuning["trials"][0]["candidate"] == tuning["chosen"]


def test_batch_sizes_are_tuned_on_request() -> None:
    result = measure(tune="halving:rates=2,batch_sizes=4|30,replicates=1,widen=0")
    tried = {(t["candidate"]["lr"], t["candidate"]["batch_size"]) for t in tuning_of(result)["trials"]}
    assert tried == {(lr, size) for lr in (0.000949, 0.003) for size in (4, 30)}
    assert result.procedure["batch_size"] == tuning_of(result)["chosen"]["batch_size"]
    assert f"batch size {result.procedure['batch_size']} of 4 candidates" in str(result)


def test_candidates_train_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    advance = LockstepTrainer.advance

    def watched(self: LockstepTrainer) -> Any:
        nonlocal most
        results = advance(self)
        most = max(most, len(self.running()))
        return results

    monkeypatch.setattr(LockstepTrainer, "advance", watched)
    measure(tune="halving:rates=4,replicates=3,rungs=1,widen=0", replicates=1, trainer="lockstep")
    assert most == 12


def _interrupt_after(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    advance, done = LockstepTrainer.advance, [0]

    def interrupted(self: LockstepTrainer) -> Any:
        done[0] += 1
        if done[0] > calls:
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr(LockstepTrainer, "advance", interrupted)


def test_an_interruption_while_tuning_measures_nothing_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journal = tmp_path / "verdicts.jsonl"
    with monkeypatch.context() as patch:
        _interrupt_after(patch, 3)
        result = measure(tune="halving", journal=journal, trainer="lockstep")
    assert result.status is Status.INTERRUPTED
    assert {replicate.lower for replicate in result.replicates} == {0}
    assert (result.probes, tuning_of(result)["chosen"]) == ((), None)
    assert "interrupted before the choice; nothing was measured" in str(result)
    assert EmcResult.from_dict(result.to_dict()).tuning == result.tuning
    finished = measure(tune="halving", journal=journal)
    assert finished.status is not Status.INTERRUPTED
    assert without_time(finished) == without_time(measure(tune="halving"))


def test_searches_are_not_driven_before_tuning() -> None:
    with pytest.raises(RuntimeError, match="a measurement with a tuner is tuned before its searches are driven"):
        ready(tune="halving").drive([])


def test_the_observer_is_told_what_is_searched() -> None:
    seen: list[Progress] = []
    measure(tune="halving:rates=2", observer=seen.append)
    assert list(dict.fromkeys(progress.what for progress in seen)) == ["tuning, rung 1:", "tuning, rung 2:", "EMC"]


def test_models_of_ones_own_are_tuned() -> None:
    def own(shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0], classes))

    named = measure(tune="halving:rates=2")
    assert tuning_of(measure(model=own, tune="halving:rates=2"))["chosen"] == tuning_of(named)["chosen"]


def test_trainings_one_at_a_time_are_tuned_too() -> None:
    result = measure(tune="halving:rates=2,replicates=1", trainer="single", replicates=1)
    assert tuning_of(result)["chosen"] is not None
    assert result.versions["trainer"] == "single"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"optimizer": "lbfgs", "tune": "halving"},
            "--tune needs .* its steps, got lbfgs, whose line search does",
        ),
        ({"optimizer": "lbfgs:lr=auto"}, "lr=auto needs .* sets its steps, got lbfgs, whose line search does; leave"),
        ({"optimizer": "gd", "tune": "halving:batch_sizes=8|16"}, "batch_sizes are for .* of mini-batches, got gd;"),
    ],
)
def test_what_cannot_be_tuned_is_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ready(**settings)


def test_the_rate_tuned_of_sam_is_its_bases() -> None:
    named = ready(optimizer="sam:lr=auto,base=sgd", tune="halving:rates=3")
    assert named.measurement.procedure.optimizer.get("lr") == 0.1
    assert tuning._rate(named.measurement.procedure, named.setup) == 0.1
    chosen = choose(named.measurement.procedure, Candidate(0.02, 8))
    assert str(chosen.optimizer) == "sam:rho=0.05,base=sgd|momentum=0.9|weight_decay=0.0,lr=0.02"
    assert OPTIMIZERS.build(chosen.optimizer).lr == 0.02


def test_auto_is_the_default_rate_with_a_tuner() -> None:
    auto, plain = ready(optimizer="sgd:lr=auto"), ready(optimizer="sgd", tune="halving")
    assert auto.measurement == plain.measurement
    assert auto.measurement.tune is not None
    assert auto.fingerprint != ready(optimizer="sgd").fingerprint
    again = prepare(Measurement.from_dict(auto.measurement.to_dict()), execution=Execution())
    assert again.measurement == auto.measurement
