from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emc.api import Prepared, prepare
from emc.seeds import batch_seed, derive, dropout_seed, init_seed, order_key
from emc.specs import Measurement, Probe

PARTS = st.lists(st.integers(-(2**70), 2**70) | st.text(max_size=5), max_size=4)
OF_A_PROBE = [init_seed, batch_seed, dropout_seed]


@pytest.mark.parametrize(
    ("seed", "value"),
    [
        (derive("x"), 7400246612920684362),
        (order_key(0, "abc", 1), 8273364059907472361),
        (init_seed(0, 100, 1, 0), 5138895409538267987),
        (batch_seed(0, 100, 1, 0), 1194551265467692840),
        (dropout_seed(0, 100, 1, 0), 3908749514668386473),
    ],
)
def test_seeds_are_those_of_earlier_versions(seed: int, value: int) -> None:
    assert seed == value


@given(st.text(max_size=5), PARTS)
def test_a_seed_is_a_number_that_every_generator_takes(purpose: str, parts: list[int | str]) -> None:
    seed = derive(purpose, *parts)
    assert 0 <= seed < 2**63
    assert derive(purpose, *parts) == seed


@given(st.text(max_size=5), PARTS, st.text(max_size=5), PARTS)
def test_other_purposes_or_parts_give_other_seeds(
    purpose: str, parts: list[int | str], other_purpose: str, other_parts: list[int | str]
) -> None:
    same = (purpose, parts) == (other_purpose, other_parts)
    assert (derive(purpose, *parts) == derive(other_purpose, *other_parts)) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b", "c"), ("a", "b,c")),
        (("a", "b", "c"), ("a", 'b","c')),
        (("a", "bc"), ("ab", "c")),
        (("a", 1), ("a", "1")),
        (("a", 1, 23), ("a", 12, 3)),
        (("a",), ("a", "")),
    ],
)
def test_parts_are_never_run_together(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert derive(*one) != derive(*other)


def test_purposes_are_independent_streams() -> None:
    seeds = [seed(0, 100, 1, 0) for seed in OF_A_PROBE] + [order_key(0, "100", 1), derive("order", 0, 100, 1, 0)]
    assert len(set(seeds)) == len(seeds)
    draws = [torch.rand(2000, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    correlations = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in combinations(draws, 2)]
    assert max(map(abs, correlations)) < 4 / 2000**0.5


@pytest.mark.parametrize("seed", OF_A_PROBE)
def test_every_part_changes_a_probes_seed(seed: Callable[[int, int, int, int], int]) -> None:
    seeds = {seed(7, 100, 1, 0), seed(8, 100, 1, 0), seed(7, 101, 1, 0), seed(7, 100, 2, 0), seed(7, 100, 1, 1)}
    assert len(seeds) == 5
    assert seed(7, 1, 100, 0) not in seeds, "numbers that trade places are another probe"


def test_every_part_changes_an_order() -> None:
    assert len({order_key(7, "abc", 1), order_key(8, "abc", 1), order_key(7, "abd", 1), order_key(7, "abc", 2)}) == 4


def made(**settings: object) -> Prepared:
    small = {"data": "gaussian:dim=3,size=40", "labels": "random", "model": "mlp:width=4"}
    return prepare(Measurement.from_flat(small | settings))


def init_of(prepared: Prepared, n: int = 20, replicate: int = 0, attempt: int = 0) -> torch.Tensor:
    module = prepared.setup.fresh_model(Probe("base", n, replicate, attempt))
    return torch.nn.utils.parameters_to_vector(module.parameters()).detach()


def test_a_procedures_name_is_no_part_so_that_comparisons_are_paired() -> None:
    adam, sgd = made(optimizer="adam"), made(optimizer="sgd:lr=0.5", batch_size=4)
    assert torch.equal(init_of(adam), init_of(sgd))
    linear = made(model="linear")
    for one, other in zip(adam.setup.pool.samples(1).first(30), linear.setup.pool.samples(1).first(30), strict=True):
        assert torch.equal(one, other)


def test_every_probe_has_an_init_of_its_own() -> None:
    prepared = made()
    inits = [init_of(prepared), init_of(prepared, n=21), init_of(prepared, replicate=1), init_of(prepared, attempt=1)]
    inits.append(init_of(made(seed=1)))
    assert torch.equal(inits[0], init_of(made()))
    assert not any(torch.equal(one, other) for one, other in combinations(inits, 2))
