from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import GEOMETRIC, LINEAR, Noisy, memoriser, oracles, searches, sizes, walk

from emc.results import Status, Verdict
from emc.search.base import Ask
from emc.search.path import Bracket, Shown, cut
from emc.specs import Search


def asked_sizes(search: Search, n_start: int, n_max: int, k: int) -> list[int]:
    return [ask.n for ask, _ in walk(search, n_start, n_max, memoriser(k))[0]]


@given(sizes(3000), st.integers(0, 3100), GEOMETRIC, st.integers(2, 6))
def test_a_memoriser_of_k_has_an_emc_of_k(ends: tuple[int, int], k: int, growth: str, sections: int) -> None:
    search = Search(growth=growth, sections=sections, tolerance=0)
    _, bracket = walk(search, *ends, memoriser(k))
    if k >= ends[1]:
        assert bracket == Bracket(ends[1], None, Status.CENSORED_ABOVE)
    elif k == 0:
        assert bracket == Bracket(0, 1, Status.CENSORED_BELOW)
    else:
        assert bracket == Bracket(k, k + 1, Status.BRACKETED)


@given(sizes(800), st.integers(0, 850), st.integers(1, 100), st.sampled_from([0.0, 0.05]))
def test_a_linear_scan_ends_where_a_naive_one_does(ends: tuple[int, int], k: int, step: int, tolerance: float) -> None:
    n_start, n_max = ends
    up = [*range(n_start, n_max, step), n_max]
    down = [*range(n_start, 1, -step), 1]
    scanned = up if k >= n_start else down
    asked, bracket = walk(Search(growth=f"linear:step={step}", tolerance=tolerance), *ends, memoriser(k))
    assert bracket.lower == max((n for n in scanned if n <= k), default=0)
    assert bracket.upper == min((n for n in scanned if n > k), default=None)
    seen = [ask.n for ask, _ in asked]
    assert seen == scanned[: len(seen)]


@settings(max_examples=400)
@given(searches(), sizes(), oracles())
def test_whatever_the_oracle_the_search_ends_and_proves_its_bracket(
    search: Search, ends: tuple[int, int], oracle: Noisy
) -> None:
    asked, bracket = walk(search, *ends, oracle)
    tries: dict[int, list[str]] = defaultdict(list)
    for ask, shown in asked:
        assert 1 <= ask.n <= ends[1]
        assert ask.attempt == len(tries[ask.n]), "each attempt at a size is new, and they are counted from 0"
        tries[ask.n].append(shown)
    for shown_at in tries.values():
        assert_size_was_tried_enough(search, shown_at)
    assert_ends_are_verified(search, bracket, tries)
    assert_status_is_earned(search, ends[1], bracket, tries, asked[-1][0])


def assert_size_was_tried_enough(search: Search, shown: list[str]) -> None:
    """It ends at a fit, at `attempts` failures or after more than `retries` divergences, and not before or after."""
    over = [
        Shown.FITTED in shown[:end]
        or shown[:end].count(Shown.NOT_FITTED) >= search.attempts
        or shown[:end].count(Shown.NOTHING) > search.retries
        for end in range(len(shown) + 1)
    ]
    assert over == [False] * len(shown) + [True]


def assert_ends_are_verified(search: Search, bracket: Bracket, tries: dict[int, list[str]]) -> None:
    if bracket.lower > 0:
        assert Shown.FITTED in tries[bracket.lower]
    if bracket.upper is not None:
        assert bracket.upper > bracket.lower
        assert tries[bracket.upper].count(Shown.NOT_FITTED) == search.attempts
        assert Shown.FITTED not in tries[bracket.upper]


def assert_status_is_earned(
    search: Search, n_max: int, bracket: Bracket, tries: dict[int, list[str]], last: Ask
) -> None:
    lower, upper = bracket.lower, bracket.upper
    above = {n for n, shown in tries.items() if upper is not None and n > upper and Shown.FITTED in shown}
    assert set(bracket.also_fitted) == above
    assert len(above) <= search.verify
    assert (bracket.status is Status.NON_MONOTONE) == bool(above)
    if bracket.status is Status.DIVERGED:
        assert tries[last.n].count(Shown.NOTHING) == search.retries + 1
    elif bracket.status is Status.CENSORED_ABOVE:
        assert (lower, upper) == (n_max, None)
    elif bracket.status is Status.CENSORED_BELOW:
        assert (lower, upper) == (0, 1)
    else:
        assert upper is not None
        assert lower > 0
        if search.growth.name == "geometric":
            assert upper - lower == 1 or upper / lower - 1 <= search.tolerance


@given(searches(LINEAR), sizes(), oracles())
def test_a_linear_scan_never_bisects(search: Search, ends: tuple[int, int], oracle: Noisy) -> None:
    asked, bracket = walk(search, *ends, oracle)
    upper = math.inf if bracket.upper is None else bracket.upper
    given_up = asked[-1][0].n if bracket.status is Status.DIVERGED else None
    inside = [ask.n for ask, _ in asked if bracket.lower < ask.n < upper and ask.n != given_up]
    assert inside == []


def test_growth_then_bisection() -> None:
    assert asked_sizes(Search(tolerance=0), 16, 1000, 50) == [16, 32, 64, 45, 54, 49, 51, 50]


def test_growth_ends_at_the_largest_size() -> None:
    assert asked_sizes(Search(), 16, 100, 100) == [16, 32, 64, 100]


def test_a_first_failure_goes_down() -> None:
    assert asked_sizes(Search(tolerance=0), 16, 1000, 3) == [16, 8, 4, 2, 3]
    assert asked_sizes(Search(tolerance=0), 16, 1000, 0) == [16, 8, 4, 2, 1]


def test_a_larger_tolerance_stops_earlier() -> None:
    narrow = asked_sizes(Search(tolerance=0.05), 16, 10**5, 1234)
    wide = asked_sizes(Search(tolerance=0.5), 16, 10**5, 1234)
    assert narrow[: len(wide)] == wide
    assert len(wide) < len(narrow)


def test_sections_probe_upwards_and_stop_at_the_first_failure() -> None:
    assert asked_sizes(Search(sections=4, growth="geometric:factor=16", tolerance=1), 16, 1000, 100) == [
        16,
        256,
        32,
        64,
        128,
    ]


def test_a_size_fits_if_any_attempt_does() -> None:
    third_time_lucky = lambda n, _r, attempt: (  # noqa: E731
        Verdict.FITTED if n <= 10 or (n <= 20 and attempt == 2) else Verdict.NOT_FITTED
    )
    assert walk(Search(attempts=3, tolerance=0), 4, 100, third_time_lucky)[1].lower == 20
    assert walk(Search(attempts=2, tolerance=0), 4, 100, third_time_lucky)[1].lower == 10


def test_fresh_seeds_are_tried_where_a_training_diverged() -> None:
    recovers = lambda n, _r, attempt: (  # noqa: E731
        Verdict.DIVERGED if attempt < 2 else Verdict.FITTED if n <= 9 else Verdict.NOT_FITTED
    )
    assert walk(Search(retries=2, tolerance=0), 4, 100, recovers)[1] == Bracket(9, 10, Status.BRACKETED)
    asked, bracket = walk(Search(retries=1, tolerance=0), 4, 100, recovers)
    assert bracket == Bracket(0, None, Status.DIVERGED)
    assert [ask for ask, _ in asked] == [Ask(4, 0), Ask(4, 1)]


def test_divergence_keeps_the_ends_verified_so_far() -> None:
    diverges_at_20 = lambda n, _r, _a: (  # noqa: E731
        Verdict.DIVERGED if n in range(18, 25) else Verdict.FITTED if n <= 16 else Verdict.NOT_FITTED
    )
    assert walk(Search(tolerance=0), 16, 100, diverges_at_20)[1] == Bracket(16, 32, Status.DIVERGED) or (
        walk(Search(tolerance=0), 16, 100, diverges_at_20)[1] == Bracket(16, 23, Status.DIVERGED)
    )


def test_verify_probes_sizes_above_the_bracket_that_are_new() -> None:
    # Growth failed at 4 already, so that the three further sizes are 3 (a step above 2), 5 and 6.
    assert asked_sizes(Search(tolerance=0, verify=3), 4, 100, 1) == [4, 2, 1, 3, 5, 6]


def test_verify_finds_a_fit_above_the_bracket() -> None:
    island = lambda n, _r, _a: Verdict.FITTED if n <= 16 or n == 18 else Verdict.NOT_FITTED  # noqa: E731
    search = Search(growth="linear:step=1", verify=3)
    assert walk(search, 16, 100, island)[1] == Bracket(16, 17, Status.NON_MONOTONE, (18,))


def test_verify_stays_below_the_largest_size() -> None:
    assert asked_sizes(Search(tolerance=0, verify=9), 16, 20, 17) == [16, 20, 18, 17, 19]


@given(st.integers(1, 10**6), st.integers(2, 10**6), st.integers(2, 9))
def test_a_cut_lies_inside_and_ascends(lower: int, width: int, sections: int) -> None:
    inner = cut(lower, lower + width, sections)
    assert 1 <= len(inner) < sections
    assert all(lower < n < lower + width for n in inner)
    assert list(inner) == sorted(set(inner))


@pytest.mark.parametrize("sections", [2, 3, 5])
def test_a_cut_has_parts_of_equal_ratio(sections: int) -> None:
    at = [10_000, *cut(10_000, 160_000, sections), 160_000]
    ratios = [right / left for left, right in pairwise(at)]
    assert len(ratios) == sections
    assert ratios == pytest.approx([16 ** (1 / sections)] * sections, rel=1e-3)
