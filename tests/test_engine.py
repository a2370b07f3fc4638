"""One loop over every search: what it concludes, and that nothing but the verdicts can change it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import (
    Noisy,
    Oracle,
    OracleExecutor,
    Outcome,
    Weigh,
    memoriser,
    oracles,
    run_engine,
    searches,
    sizes,
    undisturbed,
    walk,
    with_sizes,
)

from emc import engine as engine_module
from emc.engine import Engine
from emc.errors import JournalError
from emc.estimators.mean_error import MeanError
from emc.estimators.replicated import MeasuredReplicate, ReplicatedSearch
from emc.journal import Journal
from emc.results import Evidence, ProbeResult, Progress, Replicate, Status, Trained, Verdict
from emc.search.base import Ask
from emc.sought import Sought
from emc.specs import Probe, Search

EXACT = Search(tolerance=0)
VERIFIED = Search(tolerance=0, verify=1)
GROWTH = st.floats(1.1, 9.0).map("geometric:factor={}".format)
SPECULATION = st.none() | st.integers(1, 8)
SLOTS = st.integers(1, 20)


def only(outcome: Outcome) -> Replicate:
    (replicate,) = outcome.replicates
    return replicate


def ends(replicate: Replicate) -> tuple[int, int | None, Status]:
    return replicate.lower, replicate.upper, replicate.status


def sized(probes: list[Probe] | list[ProbeResult]) -> list[int]:
    return [probe.n for probe in probes]


def keys(path: Path, key_of: Callable[[Any], str] = itemgetter("key")) -> list[str]:
    """Keys of all whole lines of a journal."""
    if not path.exists():
        return []
    return [key_of(json.loads(raw)) for raw in path.read_bytes().splitlines(True) if raw.endswith(b"\n")]


@given(sizes(1000), st.integers(0, 1050), GROWTH, st.integers(2, 5), SPECULATION, st.integers(0, 99), SLOTS)
def test_a_model_that_memorises_k_samples_has_an_emc_of_k(
    size: tuple[int, int], k: int, growth: str, sections: int, speculation: int | None, order: int, slots: int
) -> None:
    search = Search(growth=growth, sections=sections, tolerance=0)
    executor = OracleExecutor(memoriser(k), order=order, slots=slots)
    outcome = run_engine(executor, search, *size, replicates=2, speculation=speculation)
    assert not outcome.interrupted
    for replicate in outcome.replicates:
        if k >= size[1]:
            assert ends(replicate) == (size[1], None, Status.CENSORED_ABOVE)
        elif k == 0:
            assert ends(replicate) == (0, 1, Status.CENSORED_BELOW)
        else:
            assert ends(replicate) == (k, k + 1, Status.BRACKETED)


@pytest.mark.parametrize(
    ("k", "asked", "expected"),
    [
        (0, [16, 8, 4, 2, 1], (0, 1, Status.CENSORED_BELOW)),
        (1, [16, 8, 4, 2, 1], (1, 2, Status.BRACKETED)),
        (2, [16, 8, 4, 2, 3], (2, 3, Status.BRACKETED)),
        (17, [16, 32, 23, 19, 17, 18], (17, 18, Status.BRACKETED)),
    ],
)
def test_small_sizes_are_probed_like_any_other(k: int, asked: list[int], expected: tuple[int, int, Status]) -> None:
    executor = OracleExecutor(memoriser(k))
    assert ends(only(run_engine(executor, EXACT, 16, 100))) == expected
    assert sized(executor.added) == asked


@settings(max_examples=100)
@given(searches(), sizes(), oracles(), SPECULATION, st.integers(0, 99), SLOTS)
def test_both_ends_of_every_bracket_are_probes_that_were_trained(
    search: Search, size: tuple[int, int], oracle: Noisy, speculation: int | None, order: int, slots: int
) -> None:
    executor = OracleExecutor(oracle, order=order, slots=slots)
    outcome = run_engine(executor, search, *size, replicates=2, speculation=speculation)
    assert all(1 <= probe.n <= size[1] for probe in executor.added)
    trained = {(r.replicate, r.n, r.verdict) for r in executor.results}
    used = {(r.replicate, r.n, r.verdict) for r in outcome.probes}
    assert used <= trained
    for replicate in outcome.replicates:
        if replicate.lower > 0:
            assert (replicate.replicate, replicate.lower, Verdict.FITTED) in used
        if replicate.upper is not None:
            assert (replicate.replicate, replicate.upper, Verdict.NOT_FITTED) in used
            (decided,) = {r.n for r in outcome.probes if r.key == replicate.deciding}
            assert decided == replicate.upper
        for n in replicate.also_fitted:
            assert (replicate.replicate, n, Verdict.FITTED) in used


@settings(max_examples=100)
@given(searches(), sizes(), oracles(), SPECULATION, st.integers(0, 10**6), SLOTS, st.integers(1, 3), st.integers(1, 9))
def test_asking_ahead_and_the_order_of_verdicts_change_nothing(
    search: Search,
    size: tuple[int, int],
    oracle: Noisy,
    speculation: int | None,
    order: int,
    slots: int,
    replicates: int,
    wanted: int,
) -> None:
    executor = OracleExecutor(oracle, order=order, slots=slots, wanted=max(slots, wanted))
    outcome = run_engine(executor, search, *size, replicates=replicates, speculation=speculation)
    assert outcome == undisturbed(oracle, search, *size, replicates=replicates)
    trained = [result.key for result in executor.results]
    assert len(trained) == len(set(trained)), "no probe is trained twice"
    assert not executor.waiting, "nothing is left in training"
    assert len(executor.added) == len(executor.results) + len(executor.dropped)


@given(searches(), sizes(), oracles(), st.integers(2, 5))
def test_replicates_are_independent_of_each_other(
    search: Search, size: tuple[int, int], oracle: Noisy, replicates: int
) -> None:
    together = undisturbed(oracle, search, *size, replicates=replicates)
    for number, replicate in enumerate(together.replicates):
        asked, bracket = walk(search, *size, oracle, replicate=number)
        assert (replicate.replicate, replicate.lower, replicate.upper) == (number, bracket.lower, bracket.upper)
        assert (replicate.status, replicate.also_fitted) == (bracket.status, bracket.also_fitted)
        own = [(r.n, r.attempt) for r in together.probes if r.replicate == number]
        assert own == sorted((ask.n, ask.attempt) for ask, _ in asked)


def test_one_replicate_that_diverges_leaves_the_others_alone() -> None:
    second_diverges: Oracle = lambda n, r, a: Verdict.DIVERGED if r == 1 else memoriser(50)(n, r, a)  # noqa: E731
    outcome = run_engine(OracleExecutor(second_diverges), EXACT, 16, 100, replicates=3)
    assert [ends(replicate) for replicate in outcome.replicates] == [
        (50, 51, Status.BRACKETED),
        (0, None, Status.DIVERGED),
        (50, 51, Status.BRACKETED),
    ]


@settings(max_examples=50)
@given(
    searches(), sizes(), oracles(), st.lists(st.integers(0, 12), max_size=4), st.integers(0, 10**6), SPECULATION, SLOTS
)
def test_an_interrupted_measurement_resumes_to_the_same_end(
    search: Search,
    size: tuple[int, int],
    oracle: Noisy,
    stops: list[int],
    order: int,
    speculation: int | None,
    slots: int,
) -> None:
    expected = undisturbed(oracle, search, *size, replicates=2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        for run, stop in enumerate([*stops, None]):
            known = set(keys(path))
            executor = OracleExecutor(oracle, order=order + run, stop_after=stop, slots=slots)
            with Journal(path) as journal:
                outcome = run_engine(executor, search, *size, journal=journal, replicates=2, speculation=speculation)
            assert not known & {probe.key for probe in executor.added}, "what is acknowledged is not trained again"
            if not outcome.interrupted:
                break
            for replicate, whole in zip(outcome.replicates, expected.replicates, strict=True):
                assert replicate.lower <= whole.lower
                if replicate.status is not Status.INTERRUPTED:
                    assert replicate == whole
        assert outcome == expected
        assert len(keys(path)) == len(set(keys(path)))


def test_an_interruption_before_the_first_verdict_knows_nothing() -> None:
    executor = OracleExecutor(memoriser(50), stop_after=0)
    outcome = run_engine(executor, EXACT, 16, 100, replicates=2)
    assert outcome == Outcome(
        (Replicate(0, 0, None, Status.INTERRUPTED), Replicate(1, 0, None, Status.INTERRUPTED)), (), True
    )


def test_an_interruption_shows_what_is_proved_by_then() -> None:
    outcome = run_engine(OracleExecutor(memoriser(50), stop_after=5), EXACT, 16, 100)
    assert outcome.interrupted
    assert only(outcome) == Replicate(0, 45, 54, Status.INTERRUPTED)
    assert sized(list(outcome.probes)) == [16, 32, 45, 54, 64]


def test_an_interruption_by_the_observer_is_one_too() -> None:
    def press(progress: Progress) -> None:
        if progress.probes == 3:
            raise KeyboardInterrupt

    outcome = run_engine(OracleExecutor(memoriser(50)), EXACT, 16, 100, observer=press)
    assert outcome.interrupted
    assert ends(only(outcome)) == (32, 64, Status.INTERRUPTED)


# Lives of one measurement over one journal. The first ones end by SIGKILL at a chosen moment, in the midst of a line
# too; later ones also whenever the parent strikes.
LIVES = """
import json, os, random, signal, stat, sys, time
sys.path.insert(0, sys.argv[1])
from oracles import Noisy, OracleExecutor, run_engine
from emc.journal import Journal, shared_file
from emc.specs import Search

os.chdir(sys.argv[2])
whole_write, whole_sync = os.write, os.fsync

class Mortal(OracleExecutor):
    def advance(self):
        moment("advance")
        results = super().advance()
        with open(f"trained-{life}.jsonl", "a") as file:
            file.writelines(json.dumps(result.key) + "\\n" for result in results)
        return results

def moment(name, last_words=lambda: None):
    counts[name] = counts.get(name, 0) + 1
    if (name, counts[name]) == fatal:
        last_words()
        os.kill(os.getpid(), signal.SIGKILL)

def write(descriptor, data):
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        moment("write", lambda: whole_write(descriptor, data[: rng.randrange(len(data) + 1)]))
    return whole_write(descriptor, data)

def sync(descriptor):
    moment("before sync")
    whole_sync(descriptor)
    moment("after sync")

def measure():
    os.write, os.fsync = write, sync
    shared_file.SYNC_SHARE = 1 if life < 8 else rng.choice([1, 0.02])
    with Journal("journal.jsonl") as journal:
        executor = Mortal(Noisy(3, 300.0, 0.3, 0.1), order=rng.randrange(10**6), slots=24)
        outcome = run_engine(executor, Search(), 16, 2000, journal=journal, replicates=8, speculation=3)
    with open("outcome.txt", "w") as file:
        file.write(repr(outcome))

for life in range(200):
    rng = random.Random(life)
    counts, from_outside = {}, life >= 8 and rng.random() < 0.5
    fatal = None if from_outside else (rng.choice(["advance", "write", "before sync", "after sync"]), rng.randint(1, 3))
    child = os.fork()
    if child == 0:
        measure()
        os._exit(0)
    if from_outside:
        time.sleep(rng.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    with open("journal.jsonl", "rb") as file, open(f"journal-{life}.jsonl", "wb") as copy:
        copy.write(file.read())
    print(os.waitstatus_to_exitcode(status), flush=True)
    if status == 0:
        break
"""


def test_a_process_killed_at_any_moment_resumes_to_the_same_end(tmp_path: Path) -> None:
    folder = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", LIVES, str(folder), str(tmp_path)], capture_output=True, text=True, check=False
    )
    codes = [int(code) for code in done.stdout.split()]
    assert (done.returncode, done.stderr) == (0, "")
    assert codes[-1] == 0
    assert len(codes) > 8
    assert set(codes[:-1]) == {-signal.SIGKILL}
    acknowledged: set[str] = set()
    for life in range(len(codes)):
        trained = keys(tmp_path / f"trained-{life}.jsonl", lambda key: key)
        assert not acknowledged & set(trained), "what is acknowledged is not trained again"
        after = keys(tmp_path / f"journal-{life}.jsonl")
        assert acknowledged <= set(after), "what is acknowledged is not lost"
        acknowledged = set(after)
    assert any(not (tmp_path / f"journal-{life}.jsonl").read_bytes().endswith(b"\n") for life in range(len(codes)))
    whole = keys(tmp_path / "journal.jsonl")
    assert len(whole) == len(set(whole))
    expected = undisturbed(Noisy(3, 300.0, 0.3, 0.1), Search(), 16, 2000, replicates=8)
    assert (tmp_path / "outcome.txt").read_text() == repr(expected)
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert [journal.get(probe.key) for probe in expected.probes] == list(expected.probes)


def test_a_fresh_measurement_trains_again_whatever_the_journal_holds(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        run_engine(OracleExecutor(memoriser(20)), EXACT, 16, 100, journal=journal, replicates=2)
    before = keys(path)
    with Journal(path) as journal:
        executor = OracleExecutor(memoriser(50))
        outcome = run_engine(executor, EXACT, 16, 100, journal=journal, replicates=2, fresh=True)
    assert outcome == undisturbed(memoriser(50), EXACT, 16, 100, replicates=2)
    assert keys(path) == before + [result.key for result in executor.results]
    assert set(before) & {probe.key for probe in executor.added}
    with Journal(path) as journal:
        idle = OracleExecutor(memoriser(20))
        assert run_engine(idle, EXACT, 16, 100, journal=journal, replicates=2) == outcome
    assert idle.added == []


def test_a_fresh_measurement_trains_each_probe_once() -> None:
    executor = OracleExecutor(memoriser(50), order=1, slots=8)
    run_engine(executor, EXACT, 16, 100, fresh=True)
    trained = [result.key for result in executor.results]
    assert len(trained) == len(set(trained))


def test_another_measurement_over_the_same_probes_trains_only_what_is_new() -> None:
    journal = Journal(None)
    first, second = OracleExecutor(memoriser(50)), OracleExecutor(memoriser(50))
    run_engine(first, Search(tolerance=0.5), 16, 100, journal=journal)
    outcome = run_engine(second, EXACT, 16, 100, journal=journal, replicates=2)
    assert sized(first.added) == [16, 32, 64, 45]
    assert [probe.n for probe in second.added if probe.replicate == 0] == [54, 49, 51, 50]
    assert outcome == undisturbed(memoriser(50), EXACT, 16, 100, replicates=2)


def test_probes_of_another_base_are_others() -> None:
    journal = Journal(None)
    run_engine(OracleExecutor(memoriser(20)), EXACT, 16, 100, journal=journal, base="one")
    executor = OracleExecutor(memoriser(50))
    assert only(run_engine(executor, EXACT, 16, 100, journal=journal, base="another")).lower == 50
    assert sized(executor.added) == [16, 32, 64, 45, 54, 49, 51, 50]


def _evidence(evidence: Evidence, at: int | None = None) -> Weigh:
    return lambda n, _r, _a: evidence if at in (None, n) else Evidence.NOISE_FLOOR


def _diverging_above(k: int) -> Oracle:
    return lambda n, _r, _a: Verdict.FITTED if n <= k else Verdict.DIVERGED


def _with_an_island(k: int, island: int) -> Oracle:
    return lambda n, _r, _a: Verdict.FITTED if n <= k or n == island else Verdict.NOT_FITTED


@pytest.mark.parametrize(
    ("oracle", "weigh", "search", "expected"),
    [
        (memoriser(50), _evidence(Evidence.NOISE_FLOOR), EXACT, (50, 51, Status.BRACKETED)),
        (memoriser(50), _evidence(Evidence.STATIONARY), EXACT, (50, 51, Status.BRACKETED)),
        (memoriser(50), _evidence(Evidence.MINIMUM), EXACT, (50, 51, Status.BRACKETED)),
        (memoriser(50), _evidence(Evidence.INFEASIBLE), EXACT, (50, 51, Status.BRACKETED)),
        (memoriser(50), _evidence(Evidence.BUDGET), EXACT, (50, 51, Status.UNDERTRAINED)),
        (memoriser(50), _evidence(Evidence.SADDLE), EXACT, (50, 51, Status.UNDERTRAINED)),
        (memoriser(50), _evidence(Evidence.BUDGET, at=51), EXACT, (50, 51, Status.UNDERTRAINED)),
        (memoriser(50), _evidence(Evidence.BUDGET, at=54), EXACT, (50, 51, Status.BRACKETED)),
        (memoriser(100), _evidence(Evidence.BUDGET), EXACT, (100, None, Status.CENSORED_ABOVE)),
        (memoriser(0), _evidence(Evidence.NOISE_FLOOR), EXACT, (0, 1, Status.CENSORED_BELOW)),
        (memoriser(0), _evidence(Evidence.BUDGET), EXACT, (0, 1, Status.UNDERTRAINED)),
        (_diverging_above(50), _evidence(Evidence.NOISE_FLOOR), EXACT, (32, None, Status.DIVERGED)),
        (_diverging_above(0), _evidence(Evidence.NOISE_FLOOR), EXACT, (0, None, Status.DIVERGED)),
        (_with_an_island(50, 55), _evidence(Evidence.NOISE_FLOOR), VERIFIED, (50, 51, Status.NON_MONOTONE)),
        (_with_an_island(50, 55), _evidence(Evidence.BUDGET), VERIFIED, (50, 51, Status.NON_MONOTONE)),
    ],
)
def test_every_status_is_reached(
    oracle: Oracle, weigh: Weigh, search: Search, expected: tuple[int, int | None, Status]
) -> None:
    assert ends(only(undisturbed(oracle, search, 16, 100, weigh=weigh))) == expected


@pytest.mark.parametrize(("weak", "emc", "warned"), [(0, 70, True), (1, 70, True), (2, 60, False), (None, 60, False)])
def test_lower_bounds_below_an_emc_are_told(weak: int | None, emc: int, warned: bool) -> None:
    """EMCs of 50, 60 and 70, one of them only a lower bound."""
    oracle: Oracle = lambda n, r, _a: Verdict.FITTED if n <= 50 + 10 * r else Verdict.NOT_FITTED  # noqa: E731
    weigh: Weigh = lambda _n, r, _a: Evidence.BUDGET if r == weak else Evidence.MINIMUM  # noqa: E731
    estimator = ReplicatedSearch(with_sizes(EXACT, n_start=16, n_max=200), 3, 0.95)
    Engine(OracleExecutor(oracle, weigh=weigh), Journal(None)).run([Sought("base", s) for s in estimator.searches])
    found = estimator.conclude()
    assert (found.emc, found.censored) == (emc, False)
    said = (
        "1 of 3 replicates are lower bounds below the EMC, which is 60 if they are no larger and 70 if they are large"
    )
    assert [text.partition(";")[0] for text in found.warnings] == [said] * warned


def test_of_several_attempts_the_weakest_failure_says_what_the_size_is_worth() -> None:
    search = Search(tolerance=0, attempts=3)
    for attempt in range(3):
        weigh: Weigh = lambda n, _r, a, weak=attempt: (  # type: ignore[misc]  # noqa: E731
            Evidence.BUDGET if (n, a) == (51, weak) else Evidence.STATIONARY
        )
        outcome = undisturbed(memoriser(50), search, 16, 100, weigh=weigh)
        assert ends(only(outcome)) == (50, 51, Status.UNDERTRAINED)
        (deciding,) = [probe for probe in outcome.probes if probe.key == only(outcome).deciding]
        assert (deciding.n, deciding.attempt, deciding.evidence) == (51, attempt, Evidence.BUDGET)


def test_divergence_is_tried_again_with_fresh_seeds_and_is_no_evidence() -> None:
    recovers: Oracle = lambda n, r, a: Verdict.DIVERGED if a < 2 else memoriser(50)(n, r, a)  # noqa: E731
    outcome = undisturbed(recovers, EXACT, 16, 100)
    assert ends(only(outcome)) == (50, 51, Status.BRACKETED)
    assert [(p.attempt, p.verdict) for p in outcome.probes if p.n == 51] == [
        (0, Verdict.DIVERGED),
        (1, Verdict.DIVERGED),
        (2, Verdict.NOT_FITTED),
    ]
    (deciding,) = [probe for probe in outcome.probes if probe.key == only(outcome).deciding]
    assert (deciding.n, deciding.attempt) == (51, 2)


def test_a_failure_drops_the_larger_sizes_asked_ahead() -> None:
    executor = OracleExecutor(memoriser(10), slots=4)
    outcome = run_engine(executor, EXACT, 16, 1000)
    # Ahead of 16 lie 32 and 64 should it fit, and 8 should it not.
    assert sized(executor.added)[:4] == [16, 32, 8, 64]
    assert sized(executor.dropped)[:2] == [32, 64]
    assert set(sized(executor.results)) & {32, 64} == set()
    assert ends(only(outcome)) == (10, 11, Status.BRACKETED)


def test_a_fit_drops_the_smaller_sizes_asked_ahead() -> None:
    executor = OracleExecutor(memoriser(1000), slots=4)
    run_engine(executor, EXACT, 16, 1000)
    assert sized(executor.dropped)[0] == 8
    assert 8 not in sized(executor.results)


def test_verdicts_off_the_path_are_journaled_and_not_in_the_result() -> None:
    journal, executor = Journal(None), OracleExecutor(memoriser(50), order=0, slots=8)
    outcome = run_engine(executor, EXACT, 16, 1000, journal=journal)
    used = {probe.key for probe in outcome.probes}
    off_path = [result for result in executor.results if result.key not in used]
    assert off_path
    assert all(journal.get(result.key) == result for result in executor.results)
    assert len(journal) == len(executor.results)
    assert outcome == undisturbed(memoriser(50), EXACT, 16, 1000)
    idle = OracleExecutor(memoriser(50))
    larger = run_engine(idle, Search(growth=f"linear:step={off_path[0].n}"), off_path[0].n, 1000, journal=journal)
    assert off_path[0].key not in {probe.key for probe in idle.added}, "another search takes it from the journal"
    assert off_path[0].key in {probe.key for probe in larger.probes}


def test_the_observer_sees_the_bracket_after_every_verdict() -> None:
    seen: list[Progress] = []
    executor = OracleExecutor(memoriser(50))
    outcome = run_engine(executor, EXACT, 16, 100, observer=seen.append)
    assert [progress.brackets for progress in seen] == [
        ((16, None, None),),
        ((32, None, None),),
        ((32, 64, None),),
        ((45, 64, None),),
        ((45, 54, None),),
        ((49, 54, None),),
        ((49, 51, None),),
        ((50, 51, Status.BRACKETED),),
    ]
    assert [progress.probes for progress in seen] == list(range(1, 9))
    assert [[probe.n for probe in progress.running] for progress in seen] == [
        [32], [64], [45], [54], [49], [51], [50], []
    ]  # fmt: skip
    # Ten for every verdict of this process, and the one that a running probe has done.
    assert [progress.steps for progress in seen] == [11, 21, 31, 41, 51, 61, 71, 80]
    assert len(outcome.probes) == 8


@given(st.integers(0, 110), st.integers(0, 99), SPECULATION, SLOTS, st.integers(1, 3))
def test_what_the_observer_sees_is_proved_and_only_ever_narrows(
    k: int, order: int, speculation: int | None, slots: int, replicates: int
) -> None:
    seen: list[tuple[Progress, int]] = []
    executor = OracleExecutor(memoriser(k), order=order, slots=slots)

    def observe(progress: Progress) -> None:
        told = executor.results
        for number, (lower, upper, _) in enumerate(progress.brackets):
            own = {result.n for result in told if result.replicate == number}
            assert lower in {0, *(n for n in own if n <= k)}
            assert upper in {None, *(n for n in own if n > k)}
        seen.append((progress, len(told)))

    outcome = run_engine(executor, EXACT, 16, 100, replicates=replicates, speculation=speculation, observer=observe)
    for (before, count), (after, more) in pairwise(seen):
        assert count <= more
        for (lower, upper, status), (lower_after, upper_after, status_after) in zip(
            before.brackets, after.brackets, strict=True
        ):
            assert lower <= lower_after
            assert upper is None or (upper_after is not None and upper_after <= upper)
            assert status is None or status is status_after
    last = seen[-1][0]
    assert last.brackets == tuple(ends(replicate) for replicate in outcome.replicates)
    assert (last.probes, last.running) == (len(executor.results), ())


def test_what_the_journal_answers_counts_as_probes_and_not_as_steps() -> None:
    journal, seen = Journal(None), []
    run_engine(OracleExecutor(memoriser(50), stop_after=5), EXACT, 16, 100, journal=journal)
    run_engine(OracleExecutor(memoriser(50)), EXACT, 16, 100, journal=journal, observer=seen.append)
    assert [(progress.probes, progress.steps) for progress in seen] == [(6, 11), (7, 21), (8, 30)]


def test_without_news_the_observer_is_not_called_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(OracleExecutor):
        calls = 0

        def advance(self) -> list[ProbeResult]:
            self.calls += 1
            return super().advance() if self.calls % 10 == 0 else []

    executor = Slow(memoriser(50))
    monkeypatch.setattr(engine_module.time, "perf_counter", lambda: executor.calls * engine_module.REPORT_EVERY_S / 4.5)
    seen: list[Progress] = []
    run_engine(executor, EXACT, 16, 100, observer=seen.append)
    assert len(seen) == 8 * 2
    assert [progress.probes for progress in seen] == [n // 2 + (n % 2) for n in range(16)]


def test_a_verdict_is_journaled_before_anyone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, told = tmp_path / "journal.jsonl", []

    def observe(progress: Progress) -> None:
        told.append(progress.probes)
        assert len(keys(path)) == progress.probes

    monkeypatch.setattr("emc.journal.shared_file.SYNC_SHARE", 1)
    with Journal(path) as journal:
        run_engine(OracleExecutor(memoriser(50)), EXACT, 16, 100, journal=journal, observer=observe)
    assert told == list(range(1, 9))


def test_verdicts_are_synced_in_groups_and_nobody_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, told, sync = tmp_path / "journal.jsonl", [], os.fsync
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: (sync(descriptor), synced.append(len(keys(path)))))
    monkeypatch.setattr(
        "emc.journal.shared_file.SYNC_SHARE", 1e-9
    )  # the group of the first sync is the last one that is due
    with Journal(path) as journal:
        executor = OracleExecutor(memoriser(50))
        observer: Callable[[Progress], None] = lambda progress: told.append((progress.probes, len(keys(path))))  # noqa: E731
        outcome = run_engine(executor, EXACT, 16, 100, journal=journal, observer=observer)
        assert synced == [1, 8]
        assert journal.synced
    assert told == [(1, 1), (8, 8)]
    assert synced == [1, 8]
    assert outcome == undisturbed(memoriser(50), EXACT, 16, 100)


def test_what_an_interruption_shows_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emc.journal.shared_file.SYNC_SHARE", 1e-9)
    with Journal(tmp_path / "journal.jsonl") as journal:
        outcome = run_engine(OracleExecutor(memoriser(50), stop_after=5), EXACT, 16, 100, journal=journal)
        assert (outcome.interrupted, len(outcome.probes), journal.synced) == (True, 5, True)


def test_a_journal_that_cannot_be_written_ends_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    monkeypatch.setattr("emc.journal.shared_file.SYNC_SHARE", 1)
    with Journal(path) as journal:
        executor = OracleExecutor(memoriser(50))
        sync, left = os.fsync, iter([True, True, False])

        def fill_up(descriptor: int) -> None:
            if not next(left):
                raise OSError(28, os.strerror(28))
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", fill_up)
        with pytest.raises(JournalError, match="cannot be written: No space left on device"):
            run_engine(executor, EXACT, 16, 100, journal=journal)
        monkeypatch.undo()
    assert keys(path) == [result.key for result in executor.results[:2]]
    with Journal(path) as journal:
        again = OracleExecutor(memoriser(50))
        assert run_engine(again, EXACT, 16, 100, journal=journal) == undisturbed(memoriser(50), EXACT, 16, 100)
    assert sized(again.added)[0] == 64


def test_a_probe_that_two_searches_ask_for_is_trained_once_and_told_to_both() -> None:
    executor = OracleExecutor(memoriser(50))
    searches = [MeasuredReplicate(rule, 16, 100, 0) for rule in (EXACT, VERIFIED)]
    assert not Engine(executor, Journal(None), fresh=True).run([Sought("base", search) for search in searches])
    assert [ends(search.conclude()) for search in searches] == [(50, 51, Status.BRACKETED)] * 2
    trained = [result.key for result in executor.results]
    assert len(trained) == len(set(trained))
    first, second = ({result.key for result in search.results()} for search in searches)
    assert first < second


def test_a_probe_that_another_search_still_wants_is_not_dropped() -> None:
    executor = OracleExecutor(memoriser(20), order=1, slots=8)
    searches = [MeasuredReplicate(rule, 16, 100, 0) for rule in (EXACT, Search(tolerance=0, sections=3))]
    Engine(executor, Journal(None)).run([Sought("base", search) for search in searches])
    assert {ends(search.conclude()) for search in searches} == {(20, 21, Status.BRACKETED)}


def begun(slots: int, replicates: int = 3, **settings: Any) -> list[tuple[int, int]]:
    """Replicate and size of what is sent before the first verdict."""
    executor = OracleExecutor(memoriser(50), slots=slots, stop_after=0)
    run_engine(executor, EXACT, 16, 100, replicates=replicates, **settings)
    return [(probe.replicate, probe.n) for probe in executor.added]


def test_idle_room_is_filled_the_likeliest_first_and_shared_fairly() -> None:
    needed = [(0, 16), (1, 16), (2, 16)]
    larger = [(0, 32), (1, 32), (2, 32)]
    smaller = [(0, 8), (1, 8), (2, 8)]
    assert begun(slots=2) == begun(slots=3) == needed
    assert begun(slots=5) == needed + larger[:2]
    assert begun(slots=10) == needed + larger + smaller + [(0, 64)]
    assert begun(slots=10, speculation=1) == needed
    assert begun(slots=10, speculation=2) == needed + larger
    assert begun(slots=10, speculation=3) == needed + larger + smaller


def test_no_more_is_asked_ahead_than_a_search_can_come_to_ask() -> None:
    executor = OracleExecutor(memoriser(3), slots=1000, stop_after=0)
    run_engine(executor, Search(tolerance=0), 2, 4)
    assert sorted(sized(executor.added)) == [1, 2, 3, 4]


def test_a_guess_that_becomes_needed_goes_on() -> None:
    executor = OracleExecutor(memoriser(1000), slots=3)
    needed: list[set[int]] = []

    def observe(_: Progress) -> None:
        needed.append({probe.n for key, probe in executor.waiting.items() if key not in executor.ahead})

    run_engine(executor, EXACT, 16, 100, observer=observe)
    assert sized(executor.added)[:3] == [16, 32, 8]
    assert needed[0] == {32}, "sent as a guess, and once"
    assert sized(executor.added).count(32) == 1


@settings(max_examples=60)
@given(oracles(), SPECULATION, st.integers(0, 10**6), SLOTS, st.integers(2, 5))
def test_a_search_that_needs_many_probes_at_once_finds_room_for_them(
    oracle: Noisy, speculation: int | None, order: int, slots: int, replicates: int
) -> None:
    """Sizes of a mean error: one verdict may make as many probes needed as there are replicates."""
    rule = Search(n_start=16, n_max=400, tolerance=0, criterion="error<=0.1")
    found = []
    for executor, ahead in (
        (OracleExecutor(oracle), 1),
        (OracleExecutor(oracle, order=order, slots=slots), speculation),
    ):
        estimator = MeanError(rule, replicates, 0.95)
        other = MeasuredReplicate(EXACT, 16, 400, 0)
        engine = Engine(executor, Journal(None), speculation=ahead)
        assert not engine.run([Sought("base", estimator.searches[0]), Sought("other", other)])
        found.append((estimator.conclude(), other.conclude()))
        assert not executor.waiting
        assert engine.trained == [Trained.of(result) for result in executor.results]
        assert len(engine.unfinished) == len(executor.dropped)
    assert found[0] == found[1]


def test_what_is_needed_takes_the_place_of_the_last_guess() -> None:
    """When the five probes of a mean error at 16 have failed, five at 8 are needed, and another search has guesses."""
    executor = OracleExecutor(memoriser(10), slots=6)
    engine = Engine(executor, Journal(None))
    five = MeanError(Search(n_start=16, n_max=400, tolerance=0, criterion="error<=0.01"), 5, 0.95)
    other = MeasuredReplicate(EXACT, 16, 400, 0)
    after: list[list[tuple[str, int]]] = []

    def observe(_: Progress) -> None:
        after.append([(probe.base, probe.n) for probe in executor.waiting.values()])

    engine.run([Sought("five", five.searches[0]), Sought("other", other)], observe)
    guesses = [("five", 32), ("other", 32), ("five", 32), ("other", 8)]
    assert after[3] == [("five", 16), ("other", 16), *guesses[:3]]
    assert after[4] == [("other", 16)] + [("five", 8)] * 5
    assert [(probe.base, probe.n) for probe in executor.dropped[:4]] == [guesses[0], guesses[2], guesses[3], guesses[1]]
    assert len(engine.unfinished) == len(executor.dropped)
    assert (five.conclude().emc, other.bounds()) == (10, (10, 11))


def test_an_engine_counts_what_it_trained_and_what_it_broke_off() -> None:
    executor = OracleExecutor(memoriser(50), slots=4)
    engine = Engine(executor, Journal(None))
    search = MeasuredReplicate(EXACT, 16, 1000, 0)
    seen: list[Progress] = []
    engine.run([Sought("base", search)], seen.append)
    assert engine.trained == [Trained.of(result) for result in executor.results]
    assert len(engine.unfinished) == len(executor.dropped) > 0
    assert seen[-1].steps == 10 * len(executor.results) + len(executor.dropped)


def test_an_interruption_counts_what_was_under_way() -> None:
    executor = OracleExecutor(memoriser(50), slots=4, stop_after=2)
    engine = Engine(executor, Journal(None))
    assert engine.run([Sought("base", MeasuredReplicate(EXACT, 16, 1000, number)) for number in range(3)])
    assert len(engine.trained) == 2
    assert len(engine.unfinished) == len(executor.dropped) + len(executor.waiting)
    assert len(executor.waiting) >= 3


def test_a_thousand_searches_touch_only_what_a_verdict_concerns() -> None:
    """Each search is asked about as often as its own verdicts, however many others there are."""

    class Counted(MeasuredReplicate):
        asked = 0

        def ask(self, most: int = 1) -> list[Ask]:
            self.asked += 1
            return super().ask(most)

    searches = [Counted(EXACT, 16, 100, number) for number in range(1000)]
    executor = OracleExecutor(memoriser(50))
    assert not Engine(executor, Journal(None)).run([Sought("base", search) for search in searches])
    assert {search.asked for search in searches} == {9}, "once at first, and after each of the 8 verdicts"
