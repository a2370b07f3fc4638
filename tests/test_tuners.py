"""The rule of tuning, without any training."""

from __future__ import annotations

import pytest

from emc.errors import SpecError, UnknownNameError
from emc.tuners import TUNERS, Candidate


def test_the_default_tries_five_rates_by_half_decades_around_the_named_one() -> None:
    halving = TUNERS.build("halving")
    assert [c.lr for c in halving.candidates(3e-3, 128)] == [3e-4, 9.49e-4, 3e-3, 9.49e-3, 3e-2]
    assert {c.batch_size for c in halving.candidates(3e-3, 128)} == {128}


def test_rates_are_tried_with_every_batch_size() -> None:
    halving = TUNERS.build("halving:rates=3,factor=10,batch_sizes=32|8|32")
    expected = [(lr, size) for size in (32, 8) for lr in (0.01, 0.1, 1.0)]
    assert [(c.lr, c.batch_size) for c in halving.candidates(0.1, 128)] == expected
    sizes_only = TUNERS.build("halving:rates=1,batch_sizes=32|8").candidates(0.1, 128)
    assert sizes_only == [Candidate(0.1, 32), Candidate(0.1, 8)]


@pytest.mark.parametrize(
    ("rungs", "eta", "divisors", "entering"),
    [(2, 3, [3, 1], [5, 2, 1]), (3, 2, [4, 2, 1], [5, 3, 2, 1]), (1, 4, [1], [5, 2])],
)
def test_budgets_grow_and_candidates_fall_by_eta(
    rungs: int, eta: int, divisors: list[int], entering: list[int]
) -> None:
    halving = TUNERS.build(f"halving:rungs={rungs},eta={eta}")
    assert list(halving.divisors()) == divisors
    numbers = [5]
    for _ in divisors:
        numbers.append(halving.survivors(numbers[-1]))
    assert numbers == entering


def test_beyond_an_end_comes_the_next_rate_of_that_batch_size() -> None:
    halving = TUNERS.build("halving:factor=10")
    tried = [Candidate(lr, 8) for lr in (0.01, 0.1, 1.0)] + [Candidate(10.0, 16)]
    assert halving.beyond(tried, Candidate(1.0, 8)) == Candidate(10.0, 8)
    assert halving.beyond(tried, Candidate(0.01, 8)) == Candidate(0.001, 8)
    assert halving.beyond(tried, Candidate(0.1, 8)) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("rates=0", "takes rates from 1 to 99, got 0"),
        ("rates=1", "takes two candidates or more, got one; raise rates or name batch_sizes"),
        ("eta=1", "takes eta from 2 to 9, got 1"),
        ("rungs=0", "takes rungs from 1 to 9, got 0"),
        ("replicates=0", "takes replicates from 1 to 99, got 0"),
        ("widen=-1", "takes widen from 0 to 99, got -1"),
        ("factor=1", "takes factor above 1 and at most 1000, got 1.0"),
        ("batch_sizes=32|many", 'takes batch_sizes as whole numbers of at least 2 separated by |, got "many"'),
        ("batch_sizes=1", 'takes batch_sizes as whole numbers of at least 2 separated by |, got "1"'),
    ],
)
def test_options_out_of_range_are_refused(options: str, message: str) -> None:
    with pytest.raises(SpecError, match="^tuner halving " + message.replace("|", r"\|") + "$"):
        TUNERS.build(f"halving:{options}")


def test_an_unknown_tuner_is_told() -> None:
    with pytest.raises(UnknownNameError, match='there is no tuner "halfing"; did you mean "halving"'):
        TUNERS.resolve("halfing")
