from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Noisy, walk

from emc.results import Replicate, Status
from emc.specs import Search
from emc.stats.intervals import Interval, Median, far_below, interval, median

RIGHT_CENSORED = [status for status in Status if status.right_censored]


def brackets(*ends: tuple[int, int]) -> list[Replicate]:
    return [Replicate(i, lower, upper, Status.BRACKETED) for i, (lower, upper) in enumerate(ends)]


def ranked(R: int) -> list[Replicate]:
    """Brackets [10 i, 10 i + 1000] for i = 1 .. R in mixed order, so that an end names its rank."""
    found = brackets(*((10 * i, 10 * i + 1000) for i in range(1, R + 1)))
    random.Random(0).shuffle(found)
    return found


def censored(lower: int, status: Status = Status.CENSORED_ABOVE, upper: int | None = None) -> Replicate:
    return Replicate(99, lower, upper, status)


def coverage(R: int, k: int) -> float:
    """1 - 2 P(Binomial(R, 1/2) < k), exactly."""
    return 1 - 2 * sum(math.comb(R, i) for i in range(k)) / 2**R


@pytest.mark.parametrize(("R", "low", "high"), [(6, 1, 6), (10, 2, 9), (20, 6, 15), (40, 14, 27)])
def test_ranks_at_95_percent_are_those_of_the_tables(R: int, low: int, high: int) -> None:
    expected = Interval((10.0 * low, 10.0 * high + 1000), f"order statistics {low} and {high} of {R} brackets")
    assert interval(ranked(R), 0.95) == expected


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_ranks_are_the_innermost_that_reach_the_confidence(confidence: float) -> None:
    for R in range(6, 61):
        reaching = [k for k in range(1, R // 2 + 1) if coverage(R, k) >= confidence]
        found = interval(ranked(R), confidence)
        if reaching:
            k = max(reaching)
            assert found.ends == (10 * k, 10 * (R + 1 - k) + 1000)
        else:
            message = f"{R} replicates cannot reach a confidence of {confidence:g}; raise --replicates"
            assert found == Interval(None, message)


@pytest.mark.parametrize(("R", "k"), [(6, 1), (7, 1), (10, 2), (12, 3), (20, 6)])
def test_a_confidence_that_is_just_reached_is_reached(R: int, k: int) -> None:
    assert interval(ranked(R), coverage(R, k)).ends == (10 * k, 10 * (R + 1 - k) + 1000)


def test_lower_and_upper_ends_are_ranked_each_for_itself() -> None:
    found = brackets((60, 61), (50, 90), (40, 70), (30, 200), (20, 80), (10, 100))
    assert interval(found, 0.95).ends == (10, 200)


@pytest.mark.parametrize(
    ("lowers", "middle"), [([7], 7), ([9, 5], 5), ([3, 1, 2], 2), ([4, 1, 3, 2], 2), ([6, 5, 4, 3, 2, 1], 3)]
)
def test_the_median_is_the_lower_one(lowers: list[int], middle: int) -> None:
    found = brackets(*((lower, lower + 5) for lower in lowers))
    assert median(found) == Median(middle, middle, False, middle + 5, Status.BRACKETED)


@pytest.mark.parametrize("status", RIGHT_CENSORED)
def test_a_right_censored_replicate_ranks_as_infinite_however_low_it_stopped(status: Status) -> None:
    found = [censored(1, status), *brackets((90, 95), (100, 105))]
    assert median(found) == Median(100, 90, False, 105, Status.BRACKETED)


@pytest.mark.parametrize("status", RIGHT_CENSORED)
def test_a_median_that_is_censored_is_a_lower_bound(status: Status) -> None:
    found = [*brackets((90, 95)), censored(100, status), censored(120, status)]
    assert median(found) == Median(100, 100, True, None, status)


def test_a_censored_median_is_that_of_the_lower_bounds() -> None:
    # EMCs of 60, at least 10 and at least 200 have a median of at least 60.
    found = [*brackets((60, 61)), censored(10), censored(200)]
    middle = median(found)
    assert (middle.emc, middle.censored) == (60, True)


def test_an_undertrained_replicates_upper_end_is_no_end() -> None:
    found = [*brackets((90, 95)), censored(80, Status.UNDERTRAINED, 85), censored(81, Status.UNDERTRAINED, 86)]
    assert median(found) == Median(81, 81, True, None, Status.UNDERTRAINED)
    assert interval(found, 0.95).ends is None


@pytest.mark.parametrize("status", [Status.NON_MONOTONE, Status.CENSORED_BELOW])
def test_other_statuses_rank_by_their_lower_end(status: Status) -> None:
    found = [Replicate(0, 0, 1, status), *brackets((90, 95), (100, 105))]
    assert median(found) == Median(90, 90, False, 95, Status.BRACKETED)
    assert median(found[:2]) == Median(0, 0, False, 1, status)


@st.composite
def replicates(draw: st.DrawFn) -> list[Replicate]:
    found = []
    for i in range(draw(st.integers(1, 12))):
        lower = draw(st.integers(0, 20))
        status = draw(st.sampled_from([Status.BRACKETED, Status.NON_MONOTONE, *RIGHT_CENSORED]))
        upper = None if status is Status.CENSORED_ABOVE else lower + draw(st.integers(1, 5))
        found.append(Replicate(i, lower, upper, status))
    return found


@settings(max_examples=50)
@given(replicates(), st.data())
def test_the_median_is_right_whatever_censored_replicates_really_are(
    found: list[Replicate], data: st.DataObject
) -> None:
    more = st.integers(0, 100)
    real = sorted(r.lower + (data.draw(more) if r.status.right_censored else 0) for r in found)
    middle = median(found)
    lower_median = real[(len(real) - 1) // 2]
    if middle.censored:
        assert lower_median >= middle.emc
    else:
        infinite = sorted(math.inf if r.status.right_censored else r.lower for r in found)
        assert middle.emc == infinite[(len(real) - 1) // 2]


@settings(max_examples=50)
@given(replicates(), st.randoms(use_true_random=False))
def test_the_order_of_replicates_changes_nothing(found: list[Replicate], rng: random.Random) -> None:
    mixed = rng.sample(found, len(found))
    one, other = median(found), median(mixed)
    assert (one.emc, one.censored, one.upper) == (other.emc, other.censored, other.upper)
    ends, mixed_ends = interval(found, 0.8).ends, interval(mixed, 0.8).ends
    assert (ends is None) == (mixed_ends is None)
    if ends is not None:
        assert mixed_ends == pytest.approx(ends)


def test_one_replicate_has_no_interval() -> None:
    assert interval(brackets((100, 105)), 0.95) == Interval(None, "one replicate gives none; ask for --replicates 6")


# Two-sided 95 % quantiles of Student's t with R - 1 degrees of freedom, from the tables.
@pytest.mark.parametrize(("R", "quantile"), [(2, 12.7062), (3, 4.30265), (4, 3.18245), (5, 2.77645)])
def test_two_to_five_replicates_have_students_interval_on_log_midpoints(R: int, quantile: float) -> None:
    found = brackets(*((1000 * 2**i, 1210 * 2**i) for i in range(R)))
    middles = [math.log(1100) + i * math.log(2) for i in range(R)]
    mean = sum(middles) / R
    variance = sum((middle - mean) ** 2 for middle in middles) / (R - 1) + math.log(1.21) ** 2 / 12
    half = quantile * math.sqrt(variance / R) + math.log(1.1)
    result = interval(found, 0.95)
    assert result.ends == pytest.approx((math.exp(mean - half), math.exp(mean + half)), rel=1e-4)
    assert result.method == f"Student's t on {R} log mid-points, widened by the bracket"


def test_replicates_that_agree_differ_within_their_bracket_all_the_same() -> None:
    half = math.log(1.1) + 12.7062 * math.log(1.21) / math.sqrt(12 * 2)
    expected = (110 * math.exp(-half), 110 * math.exp(half))
    assert interval(brackets((100, 121), (100, 121)), 0.95).ends == pytest.approx(expected, rel=1e-4)


def test_the_widest_bracket_widens() -> None:
    # Equal mid-points of 100; the brackets are 1.5625, 4 and 1.5625 wide.
    variance = (2 * math.log(1.5625) ** 2 + math.log(4) ** 2) / 3 / 12
    half = 4.30265 * math.sqrt(variance / 3) + math.log(2)
    ends = interval(brackets((80, 125), (50, 200), (80, 125)), 0.95).ends
    assert ends == pytest.approx((100 * math.exp(-half), 100 * math.exp(half)), rel=1e-4)


@pytest.mark.parametrize("R", [2, 3])
def test_a_few_replicates_cover_n50_too(R: int) -> None:
    """Where all mid-points lie on few brackets: before their width counted as spread, two covered 86 %."""
    rng, held = random.Random(0), 0
    for _ in range(400):
        centre = 300 * 2 ** rng.random()
        oracle = Noisy(rng.randrange(10**6), centre, 0.05)
        found = []
        for replicate in range(R):
            _, bracket = walk(Search(), 16, 10_000, oracle, replicate)
            found.append(Replicate(replicate, bracket.lower, bracket.upper, bracket.status))
        ends = interval(found, 0.95).ends
        assert ends is not None
        held += ends[0] <= centre <= ends[1]
    assert held >= 0.95 * 400 - 3 * math.sqrt(400 * 0.95 * 0.05)


@pytest.mark.parametrize("status", RIGHT_CENSORED)
def test_one_censored_replicate_of_a_few_leaves_no_interval(status: Status) -> None:
    found = [*brackets((90, 95), (92, 97)), censored(100, status, 105)]
    assert interval(found, 0.95) == Interval(None, "censored replicates leave an end open")


def test_a_replicate_below_one_of_a_few_leaves_no_interval() -> None:
    found = [*brackets((90, 95), (92, 97)), Replicate(2, 0, 1, Status.CENSORED_BELOW)]
    assert interval(found, 0.95) == Interval(None, "censored replicates leave an end open")


@pytest.mark.parametrize("status", RIGHT_CENSORED)
def test_censoring_leaves_order_statistics_only_where_it_does_not_reach_their_rank(status: Status) -> None:
    # Of ten the upper end is that of rank 9: one censored replicate ranks 10th, two reach it.
    one = [*brackets(*((i, i + 1) for i in range(1, 10))), censored(1, status, 3)]
    assert interval(one, 0.95).ends == (1, 10)
    two = [*one[1:], censored(1, status, 3)]
    assert interval(two, 0.95) == Interval(None, "censored replicates leave the upper end open")


def test_replicates_below_one_count_as_zero_in_order_statistics() -> None:
    found = [Replicate(0, 0, 1, Status.CENSORED_BELOW), *brackets((5, 6), (6, 7), (7, 8), (8, 9), (9, 10))]
    assert interval(found, 0.95).ends == (0, 10)


N50 = 300
MEASUREMENTS = 120


@cache
def searched(width: float) -> tuple[Replicate, ...]:
    """The real search over oracles that fit with probability 1/2 at N50."""
    oracle = Noisy(seed=1, centre=N50, width=width)
    found = []
    for replicate in range(10 * MEASUREMENTS):
        bracket = walk(Search(), 16, 100_000, oracle, replicate)[1]
        found.append(Replicate(replicate, bracket.lower, bracket.upper, bracket.status))
    return tuple(found)


def measurements(width: float, R: int) -> list[Sequence[Replicate]]:
    found = searched(width)
    return [found[i * R : (i + 1) * R] for i in range(MEASUREMENTS)]


def at_least(confidence: float) -> float:
    """The share of covering intervals that fewer would show to be below their confidence."""
    return confidence - 3 * math.sqrt(confidence * (1 - confidence) / MEASUREMENTS)


@pytest.mark.parametrize("width", [0.02, 0.1, 0.3])
@pytest.mark.parametrize(("R", "confidence"), [(6, 0.95), (10, 0.95), (6, 0.8), (10, 0.8)])
def test_order_statistics_of_the_brackets_cover_n50(width: float, R: int, confidence: float) -> None:
    ends = [interval(found, confidence).ends for found in measurements(width, R)]
    assert sum(found is not None and found[0] <= N50 <= found[1] for found in ends) / len(ends) >= at_least(confidence)


def test_the_simulation_tells_brackets_from_lower_ends_alone() -> None:
    covered = 0
    for found in measurements(0.02, 10):
        ends = interval([replace(r, upper=r.lower) for r in found], 0.95).ends
        covered += ends is not None and ends[0] <= N50 <= ends[1]
    assert covered / MEASUREMENTS < at_least(0.95)


@pytest.mark.parametrize("width", [0.02, 0.1, 0.3])
def test_the_median_over_many_replicates_is_close_to_n50(width: float) -> None:
    middle = median(searched(width))
    assert middle.emc == pytest.approx(N50, rel=0.06)
    assert middle.upper == pytest.approx(N50, rel=0.06)


def test_one_low_replicate_among_many_is_seen_and_a_wide_spread_is_not() -> None:
    near = brackets((95, 99), (100, 105), (104, 109), (108, 113), (99, 103))
    assert far_below([*near, *brackets((93, 97))]) == 0
    assert far_below([*near, *brackets((60, 63))]) == 1
    assert far_below([*near, *brackets((0, 1), (40, 42))]) == 2
    wide = brackets((50, 52), (100, 105), (200, 210), (400, 420), (800, 840), (60, 63))
    assert far_below(wide) == 0
    assert far_below(near[:4] + brackets((20, 21))) == 0, "five replicates have a wide interval of their own"
    assert far_below([*near, censored(1000)]) == 0
