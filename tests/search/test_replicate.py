from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import SHOWN, Noisy, memoriser, oracles, reachable, searches, sizes, walk, with_sizes

from emc.results import Status, Verdict
from emc.search.base import Ask
from emc.search.path import Shown
from emc.search.replicate import ReplicateSearch
from emc.specs import Search


@given(searches(), sizes(), oracles(), st.randoms(use_true_random=False), st.integers(1, 8))
def test_order_and_verdicts_off_the_path_change_nothing(
    search: Search, ends: tuple[int, int], oracle: Noisy, rng: random.Random, most: int
) -> None:
    asked, bracket = walk(search, *ends, oracle)
    replicate = ReplicateSearch(search, *ends)
    strays = [Ask(rng.randint(1, ends[1]), rng.randint(0, 3)) for _ in range(10)]
    for stray in strays:
        replicate.tell(stray, SHOWN[oracle(stray.n, 0, stray.attempt)])
    rounds = 0
    while replicate.bracket is None:
        wanted = replicate.ask(most)
        for ask in rng.sample(wanted, rng.randint(1, len(wanted))):
            replicate.tell(ask, SHOWN[oracle(ask.n, 0, ask.attempt)])
        rounds += 1
        assert rounds < 10_000, "the search does not end"
    assert replicate.bracket == bracket
    assert replicate.path == tuple(ask for ask, _ in asked)


@settings(max_examples=60)
@given(searches(), sizes(7), oracles(7), st.integers(0, 12), st.integers(1, 12))
def test_every_guess_lies_on_a_path_the_search_could_take(
    search: Search, ends: tuple[int, int], oracle: Noisy, known: int, most: int
) -> None:
    asked, _ = walk(search, *ends, oracle)
    told = dict(asked[:known])
    replicate = ReplicateSearch(search, *ends)
    for ask, shown in told.items():
        replicate.tell(ask, shown)
    wanted = replicate.ask(most)
    possible = reachable(search, *ends, told)
    assert set(wanted) <= possible
    assert len(set(wanted)) == len(wanted) == min(most, len(possible))
    assert wanted[:1] == [ask for ask, _ in asked[known:]][:1], "the first is what the sequential search needs"
    assert replicate.ask(most + 1)[:most] == wanted


def test_guesses_branch_both_ways_nearest_first() -> None:
    replicate = ReplicateSearch(Search(), 16, 1000)
    assert [ask.n for ask in replicate.ask(7)] == [16, 32, 8, 64, 23, 11, 4]


def test_many_verifying_probes_can_be_asked_at_once() -> None:
    replicate = ReplicateSearch(Search(verify=40, growth="linear:step=1"), 1, 10**6)
    replicate.tell(Ask(1), Shown.FITTED)
    replicate.tell(Ask(2), Shown.NOT_FITTED)
    assert [ask.n for ask in replicate.ask(100)][:4] == [3, 4, 5, 6]
    assert len(replicate.ask(100)) == 40


def test_an_ended_search_asks_nothing() -> None:
    replicate = ReplicateSearch(Search(), 1, 1)
    assert replicate.ask(8) == [Ask(1)]
    replicate.tell(Ask(1), Shown.FITTED)
    assert replicate.ask(8) == []


@given(searches(), sizes(), oracles())
def test_bounds_are_what_is_proved_so_far(search: Search, ends: tuple[int, int], oracle: Noisy) -> None:
    asked, bracket = walk(search, *ends, oracle)
    replicate = ReplicateSearch(search, *ends)
    for ask, shown in asked:
        before = replicate.bounds()
        replicate.tell(ask, shown)
        lower, upper = replicate.bounds()
        assert lower >= before[0]
        assert upper is None or (lower < upper and (before[1] is None or upper <= before[1]))
    assert replicate.bounds() == (bracket.lower, bracket.upper)


def test_a_size_has_not_failed_while_attempts_are_left() -> None:
    replicate = ReplicateSearch(Search(attempts=2), 16, 1000)
    replicate.tell(Ask(16), Shown.NOT_FITTED)
    assert replicate.bounds() == (0, None)
    replicate.tell(Ask(16, 1), Shown.FITTED)
    assert replicate.bounds() == (16, None)


def test_the_whole_search_asks_no_more_than_it_needs() -> None:
    search = with_sizes(Search(), tolerance=0.0)
    replicate = ReplicateSearch(search, 16, 10**6)
    oracle = memoriser(70_000)
    count = 0
    while replicate.bracket is None:
        (ask,) = replicate.ask()
        replicate.tell(ask, Shown.FITTED if oracle(ask.n, 0, 0) is Verdict.FITTED else Shown.NOT_FITTED)
        count += 1
    assert replicate.bracket.status is Status.BRACKETED
    assert count == len(replicate.path) <= 14 + 17  # 2^13 * 16 > 70,000, then 2^16 sizes to choose from
